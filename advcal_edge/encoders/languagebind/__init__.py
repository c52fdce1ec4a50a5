"""LanguageBind's towers (Zhu et al. 2024, arXiv:2310.01852), read from the folders its authors publish.

One folder holds one modality: `config.json`, the weights as `model.safetensors` or `pytorch_model.bin` (one file, not
shards), and for the text tower `vocab.json` with `merges.txt`, or `tokenizer.json`. Supported are the folders of
LanguageBindImage, -Video, -Audio, -Depth and -Thermal:

* `config.json` has `model_type`, `projection_dim`, `text_config` and `vision_config`, and perhaps `text_config_dict`
  and `vision_config_dict`, which then win. All sizes come from there; an absent field has LanguageBind's own default.
* The weights have CLIP's names (`vision_model.*`, `visual_projection`, `text_model.*`, `text_projection`,
  `logit_scale`), in float32. Low-rank updates are named as peft names them, behind
  `vision_model.encoder.base_model.model` and with or without `base_layer`, and are added to the weights when they are
  read. Fully fine-tuned folders (`lora_r` 0) have none.
* Attention over time is that of the video model with one class token, or with one per frame (`clip_type` `vl_new`,
  tubes of one frame). The other modalities may have it too, for one frame.

Refused: shards, half precision, tubes of several frames, a video model without attention over time.
"""

from advcal_edge.encoders.languagebind.encoder import Languagebind, load_text

__all__ = ["Languagebind", "load_text"]
