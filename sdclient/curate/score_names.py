"""The scores that stand in the manifest: name, range, and how to say it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ScoreName:
    """One score of an image."""

    name: str
    low: float
    high: float | None
    """Bounds of what it can be; None where there is no upper one."""
    english: str
    chinese: str

    @property
    def label(self) -> str:
        """Both languages, for tables."""
        return f"{self.english} {self.chinese}"


_ALL = (
    ScoreName("ssim_inside", -1, 1, "likeness to its base inside the changed area", "变化区域内相似度"),
    ScoreName("ssim_outside", -1, 1, "likeness to its base outside it", "变化区域外相似度"),
    ScoreName("ssim_reimaged", -1, 1, "likeness of the base to itself, taken again", "重新成像相似度"),
    ScoreName("hash_distance", 0, 256, "bits of the perceptual hash that differ from the base's", "感知哈希距离"),
    ScoreName("noise", 0, 1, "grey noise beyond the base's", "噪声"),
    ScoreName("colour_garbage", 0, 1, "colour noise beyond the base's", "彩色噪声"),
    ScoreName("sharpness", 0, None, "sharpness: finest detail to the next coarser", "边缘锐度"),
    ScoreName("texture", 0, 255, "fine texture, in levels of 0-255", "细纹理"),
    ScoreName("grain", 0, 128, "unrest of the quiet parts, in levels", "平坦处颗粒"),
    ScoreName("tone_distance", 0, 255, "distance to the tones of real images, in levels", "明暗距离"),
    ScoreName("colour_distance", 0, 442, "distance to the colours of real images, in levels", "颜色距离"),
    ScoreName("face", 0, 1, "how surely there is a face", "人脸置信度"),
    ScoreName("p_class", 0, 1, "the classifier's probability of its class", "本类概率"),
    ScoreName("p_normal", 0, 1, "the classifier's probability of Normal", "正常概率"),
    ScoreName("p_other", 0, 1, "the highest probability of another class", "其他类最高概率"),
    ScoreName("feature_distance", 0, 2, "the classifier's features: distance to the class", "特征距离"),
)

SCORES: dict[str, ScoreName] = {score.name: score for score in _ALL}
"""Every score by its name."""
