"""LoRA: a Stable Diffusion checkpoint of the user's own, adapted to their defects; see docs/lora.md."""
