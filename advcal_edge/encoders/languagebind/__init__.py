"""LanguageBind's towers (Zhu et al. 2024, arXiv:2310.01852), read from the published folders.

One folder holds one modality: `config.json`, the weights as `model.safetensors` or `pytorch_model.bin` (one file or
shards), and for the text tower `vocab.json` with `merges.txt`, or `tokenizer.json`. Supported are the folders of
LanguageBindImage, -Video, -Audio, -Depth and -Thermal:

* `config.json` has `model_type`, `projection_dim`, `text_config` and `vision_config`, and optionally `text_config_dict`
  and `vision_config_dict`, which take precedence. All sizes come from there; defaults are LanguageBind's own.
* The weights have CLIP's names (`vision_model.*`, `visual_projection`, `text_model.*`, `text_projection`,
  `logit_scale`). Low-rank updates have peft's names, under
  `vision_model.encoder.base_model.model` and with or without `base_layer`, and are added to the weights on
  reading. Fully fine-tuned folders (`lora_r` 0) have none.
* Attention over time is that of the video model with one class token, or with one per frame (`clip_type` `vl_new`,
  tubes of one frame). The other modalities may also have it, for one frame.

Not supported: tubes of several frames, a video model without attention over time.
"""

from advcal_edge.encoders.languagebind.encoder import Languagebind, load_text

__all__ = ["Languagebind", "load_text"]
