"""UniBind (Lyu et al., CVPR 2024, arXiv:2403.12532): ImageBind's trunks, I2P-MAE for points, text centers by class.

`weights` is a folder laid out like a checkout of the public repository QC-LY/UniBind after following its README:

    ckpts/pretrained_weights.pt                            state dict: `bind.*` is ImageBind, `point_encoder.*`,
                                                           `pc_projection` and `bind.modality_head_point.*` the points
    outputs/RUN/MODALITY_model_best.pt                     saved by fine-tuning: the same under `backbone.`, and
                                                           `mlp_for_MODALITY.weight` (1024, 1024) and `.bias`
    centre_embs/MODALITY_DATASET_center_embeddings.pt      dictionary: class -> centers (c, 1024)

or one of the first two files. The published checkpoint has no linear head: zero-shot inference compares the trunk's
output directly with the centers. If there is a fine-tuned checkpoint, it is used together with its head; there may be
one per modality. The public training code fails for points (it uses a variable before it is set); a head for them is
placed where `encode_vision_with_mlp` intends it, after the projection into ImageBind's space.

The centre embeddings are published as pickles (`.pkl`), which can run code and are refused; the error has the command
that converts one to tensors. There may be one such file per modality, `.pt` or `.safetensors`. If a class has fewer
centers than others, its own are repeated in turn.

Points come in farthest-point order, 8192 of them, as `runtime.sensors` makes them. Upstream samples its 512 centers
inside the model, from the first point on, by farthest-point sampling; for a cloud in that order these are the first
512, on every scale. There are three differences: upstream never takes a center within 0.03 radii of the origin, except
the first point; it samples again when a perturbation has changed the order, while here the first 512 points stay the
centers; and coordinates on the 16-bit grid can tie or swap near ties.
"""

from advcal_edge.encoders.unibind.encoder import Unibind

__all__ = ["Unibind"]
