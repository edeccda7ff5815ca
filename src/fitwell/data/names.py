"""What files, folders and columns are called by custom. No torch."""

from fitwell.spec import Kind

# Folders, lists and values that say a part of the source's own split.
PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
TARGET_NAMES = ("target", "label", "labels", "class", "y")  # columns that are predicted
PART_NAMES = ("split", "part", "set", "subset")  # columns that say the part

IMAGE_SUFFIXES = {  # with the format that Pillow calls them by
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "JPEG"),
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    **dict.fromkeys((".pgm", ".ppm", ".pbm", ".pnm"), "PPM"),
    ".png": "PNG",
    ".gif": "GIF",
    ".bmp": "BMP",
    ".webp": "WEBP",
    ".jp2": "JPEG2000",
    ".avif": "AVIF",
    ".ico": "ICO",
}
TEXT_SUFFIXES = (".txt", ".text", ".md")
PLAIN_SUFFIXES = (".wav", ".wave")
AUDIO_SUFFIXES = (
    *PLAIN_SUFFIXES,
    ".flac",
    ".ogg",
    ".oga",
    ".opus",
    ".aiff",
    ".aif",
    ".aifc",
    ".mp3",
)
TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".dat", ".data", ".parquet")
# Files that hold one example each, by their kind, and what to call one.
SUFFIXES: dict[Kind, tuple[str, ...]] = {
    "images": tuple(IMAGE_SUFFIXES),
    "text": TEXT_SUFFIXES,
    "audio": AUDIO_SUFFIXES,
}
NOUNS: dict[str, str] = {"images": "image", "text": "text", "audio": "recording"}
