"""Setting types that several layers share. No torch."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

Size: TypeAlias = Annotated[int, Field(ge=1, le=65536)]
Border: TypeAlias = Annotated[int, Field(ge=0, le=65536)]
Sizes: TypeAlias = Size | Annotated[list[Size], Field(min_length=2, max_length=2)]
Borders: TypeAlias = Border | Annotated[list[Border], Field(min_length=2, max_length=2)]

Channels: TypeAlias = Annotated[Size, Field(description="filters, each of which gives a channel")]
Groups: TypeAlias = Annotated[
    Size, Field(description="parts of the channels that do not see one another")
]
Bias: TypeAlias = Annotated[bool, Field(description="add a learned number to each output")]
Stride: TypeAlias = Annotated[Size, Field(description="positions from one window to the next")]
Epsilon: TypeAlias = Annotated[
    float, Field(gt=0, le=1, description="added to the variance, against division by nothing")
]
Affine: TypeAlias = Annotated[
    bool, Field(description="learn a scale and a shift, from 1 and 0, after normalising")
]
Rate: TypeAlias = Annotated[
    float, Field(ge=0, lt=1, description="share that is zeroed at random while training")
]
Kernel2d: TypeAlias = Annotated[
    Sizes, Field(description="size of the window: a number, or [height, width]")
]
Stride2d: TypeAlias = Annotated[
    Sizes, Field(description="positions from one window to the next: a number, or [down, across]")
]
Padding2d: TypeAlias = Annotated[
    Borders, Field(description="added on each side: a number, or [above and below, left and right]")
]
Named: TypeAlias = Literal["same", "valid"]
ConvPadding1d: TypeAlias = Annotated[
    Border | Named,
    Field(description="positions added on each side; same: as many as keep the length; valid: 0"),
]
ConvPadding2d: TypeAlias = Annotated[
    Borders | Named,
    Field(
        description="added on each side: a number, or [above and below, left and right]; same: as "
        "many as keep the size; valid: 0"
    ),
]
CeilMode: TypeAlias = Annotated[
    bool, Field(description="let a last window reach beyond the border: sizes are rounded up")
]
PoolStride2d: TypeAlias = Annotated[
    Borders,
    Field(description="positions from one window to the next, also [down, across]; 0: the kernel"),
]
