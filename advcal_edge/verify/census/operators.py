"""What operators of ONNX do with the values of their inputs: which of them decide, and which inputs give only shapes.

An operator that is in none of these tables is unknown, and counts as a decision.
"""

from __future__ import annotations

from collections.abc import Mapping

from advcal_edge.verify.census.decision import Family


def words(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


FAMILIES: Mapping[Family, frozenset[str]] = {
    "compare": words("Greater GreaterOrEqual Less LessOrEqual Equal IsNaN IsInf"),
    "logic": words("And Or Not Xor BitwiseAnd BitwiseOr BitwiseXor BitwiseNot BitShift"),
    "branch": words("If Loop Scan SequenceMap"),
    "rank": words("TopK ArgMax ArgMin Hardmax NonMaxSuppression NonZero Compress Unique"),
    "round": words("Round Floor Ceil Sign Mod Shrink ThresholdedRelu"),
    "chance": words("Bernoulli Multinomial RandomNormal RandomNormalLike RandomUniform RandomUniformLike"),
}
"""Operators that decide by the values of their inputs, by the kind of their decision; chance decides without inputs."""
DECIDES: Mapping[str, Family] = {operator: family for family, members in FAMILIES.items() for operator in members}

DECIDES_BY: Mapping[str, tuple[int, ...]] = {"Compress": (1,), "NonMaxSuppression": (0, 1)}
"""The inputs by whose values these decide; the others decide by all of theirs."""

REDUCTIONS = words(
    "ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceSumSquare"
)
CHOSEN_BY: Mapping[str, tuple[int, ...]] = {
    **dict.fromkeys(words("Gather GatherElements GatherND Scatter ScatterElements ScatterND ReverseSequence"), (1,)),
    **dict.fromkeys(words("SequenceAt SequenceErase MaxUnpool MaxRoiPool RotaryEmbedding"), (1,)),
    **dict.fromkeys(words("Reshape Expand Squeeze Unsqueeze Tile Split SplitToSequence Upsample CenterCropPad"), (1,)),
    **dict.fromkeys(words("ConstantOfShape BlackmanWindow HammingWindow HannWindow"), (0,)),
    **dict.fromkeys(words("Trilu CumSum AffineGrid TopK"), (1,)),
    **dict.fromkeys(REDUCTIONS, (1,)),
    **dict.fromkeys(words("DFT Col2Im RoiAlign"), (1, 2)),
    **dict.fromkeys(words("Pad STFT"), (1, 3)),
    "OneHot": (0, 1),
    "EmbedLayerNormalization": (0, 1, 7),
    "SequenceInsert": (2,),
    "Resize": (1, 2, 3),
    "Slice": (1, 2, 3, 4),
}
"""Inputs that say which values are taken, or which shape they get: a decision if they depend on values of x."""
INDEXES = words("Gather GatherElements GatherND Slice Split Range OneHot")
"""Operators that choose among constants by sizes, or count up to them."""

MOVES = words(
    "Identity Transpose Reshape Unsqueeze Squeeze Flatten Expand Slice Split Tile Gather GatherElements GatherND Concat"
    " Pad DepthToSpace SpaceToDepth ReverseSequence Trilu CenterCropPad Upsample Compress ReorderInput ReorderOutput"
    " SequenceConstruct SequenceAt SequenceInsert SequenceErase SequenceEmpty SplitToSequence ConcatFromSequence"
    " OptionalGetElement Optional OptionalHasElement Dropout Scatter ScatterElements ScatterND CastLike"
)
"""Operators that only move values."""
AVERAGES = words(
    "AveragePool GlobalAveragePool MaxPool GlobalMaxPool ReduceMean ReduceMax ReduceMin NhwcMaxPool QLinearAveragePool"
    " QLinearGlobalAveragePool"
)
"""Operators whose outputs lie between their inputs."""
PRODUCTS = words(
    "Conv ConvTranspose MatMul Gemm ConvInteger MatMulInteger QLinearConv QLinearMatMul FusedConv FusedMatMul FusedGemm"
    " QGemm NhwcConv NhwcFusedConv DynamicQuantizeMatMul MatMulIntegerToFloat MatMulNBits TransposeMatMul DeformConv"
    " Einsum Attention MultiHeadAttention QAttention PackedAttention QLinearConvTranspose RNN LSTM GRU"
)
"""Operators that sum products with weights."""
NORMALISES = words(
    "LayerNormalization SimplifiedLayerNormalization SkipLayerNormalization SkipSimplifiedLayerNormalization"
    " RMSNormalization GroupNormalization SkipGroupNorm GroupNorm InstanceNormalization LpNormalization"
    " MeanVarianceNormalization LRN Softmax LogSoftmax BiasSoftmax QLinearSoftmax Normalizer"
)
"""Operators whose outputs have the same size whatever the size of their inputs."""
SMOOTH = words(
    "Add Sub Mul Div Neg Abs Max Min Sum Mean Clip Pow Sqrt Exp Log Reciprocal Erf Sin Cos Tan Asin Acos Atan Sinh Cosh"
    " Tanh Asinh Acosh Atanh Sigmoid HardSigmoid HardSwish Softplus Softsign Relu LeakyRelu PRelu Elu Celu Selu Gelu"
    " Mish Swish BatchNormalization CumSum CumProd Det GridSample LpPool GlobalLpPool ReduceSum ReduceProd ReduceL1"
    " ReduceL2 ReduceLogSum ReduceLogSumExp ReduceSumSquare Resize RoiAlign MaxRoiPool MaxUnpool Col2Im DFT STFT"
    " AffineGrid MelWeightMatrix FastGelu BiasGelu QuickGelu BiasSplitGelu BiasAdd BiasDropout RotaryEmbedding"
    " EmbedLayerNormalization GatedRelativePositionBias QLinearAdd QLinearMul QLinearSigmoid QLinearLeakyRelu"
    " QLinearConcat QuantizeLinear DequantizeLinear DynamicQuantizeLinear FakeQuantize FakeConvert Cast Where OneHot"
    " Range ConstantOfShape EyeLike Constant"
    " Shape Size Inverse Rfft Irfft ExpandDims Scaler LinearRegressor BlackmanWindow HammingWindow HannWindow"
)
"""All other operators that do not decide, or only under conditions that `flow` looks at."""
KNOWN = MOVES | AVERAGES | PRODUCTS | NORMALISES | SMOOTH

SCALES = words("Gather Slice Squeeze Unsqueeze Concat Cast Reshape Identity Transpose Split ReduceProd Mul Div Sqrt")
"""Operators that turn sizes into other sizes, or into scales of means."""
SCALED = words("Mul Div")
"""Operators by which a size may meet values: the scale of a mean or of an attention."""
SIZES = words("Shape Size")
QUANTISERS = words("Cast CastLike QuantizeLinear FakeQuantize")
"""Operators that decide if they round coarsely."""
LIGHT = MOVES | words(
    "Sub Add Mul Div Neg Cast Clip Min Max QuantizeLinear DequantizeLinear DynamicQuantizeLinear FakeQuantize"
)
"""Operators behind which x is still x, if their other inputs are constants."""
STANDARD = frozenset({"", "com.microsoft"})
"""Domains whose operators these tables name."""
