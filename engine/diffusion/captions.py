"""Captions that a model learns from, and which of them it is asked for to show what it has learned."""

from engine.contract.findings import Finding
from engine.diffusion.bench import ImageBench
from engine.diffusion.image_sources import ImageDataError
from engine.diffusion.images import Images
from engine.diffusion.networks import ImageModel


def look_at_captions(bench: ImageBench[ImageModel], images: Images) -> None:
    """Tell how many captions there are, and which of them cannot teach. Raises ImageDataError if there are none."""
    worded, some = bench.model.worded, [caption for caption in images.captions if caption]
    if worded is None:
        return
    if not some:
        problem = "data.train: no image has a caption, and the model is asked in words"
        remedy = "name their column in data.train.text; or write data.train.caption, as 'a photo of a {class}'"
        raise ImageDataError(f"{problem}\n{remedy}")
    different = set(some)
    bench.findings.append(Finding(level="good", what=f"{len(some):,} captions, {len(different):,} different ones"))
    if missing := len(images) - len(some):
        what = f"images without a caption, which teach what is drawn unasked: {missing:,} of {len(images):,}"
        bench.findings.append(Finding(level="warning", what=what, advice="caption them, or leave them out"))
    cut = 0
    for caption in different:
        bench.breathe()  # there may be a million
        cut += worded.is_cut(caption)
    if cut:
        longest = worded.tokenizer.model_max_length
        what = f"captions of more than {longest} tokens, whose rest is not read: {cut:,}"
        bench.findings.append(Finding(level="warning", what=what, advice="raise model.scratch.text.length"))


def subjects(images: Images, count: int) -> list[tuple[str, int]]:
    """`count` captions of the images, each different one in turn, and the classes, -1 for none; in the order of those.

    Where there are more than are asked for, from all over them.
    """
    found = sorted(
        {(label, caption) for label, caption in zip(images.labels.tolist(), images.captions, strict=True) if caption}
    )
    stride = max(1, len(found) // count)
    chosen = (found[place * stride % len(found)] for place in range(count))
    return [(caption, label) for label, caption in chosen]
