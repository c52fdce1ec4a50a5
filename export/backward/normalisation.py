"""LayerNorm backward, from the forward operator's input alone.

TensorRT reads only the first output of LayerNormalization, so mean and deviation are computed again. That needs `eps`,
which autograd does not hand on; it is found in the traced graph.
"""

from __future__ import annotations

import operator

from torch import fx

from advcal_edge.export.backward.registry import aten


def spell_out_layer_norm_back(traced: fx.GraphModule) -> fx.GraphModule:
    """Replace each LayerNorm backward by arithmetic on its input, in place."""
    for node in list(traced.graph.nodes):
        if node.target is not aten.native_layer_norm_backward.default:
            continue
        grad, x, shape, mean, _, weight, _, _ = node.args
        eps = mean.args[0].args[4]  # mean is output 1 of the forward operator, which has eps
        axes = [axis - len(shape) for axis in range(len(shape))]
        with traced.graph.inserting_before(node):
            back = layer_norm_back(traced.graph, grad, x, weight, eps, axes)
        for user in list(node.users):
            if user.target is operator.getitem and user.args[1] == 0:
                user.replace_all_uses_with(back)
            if not user.users:
                traced.graph.erase_node(user)
        if not node.users:
            traced.graph.erase_node(node)
    traced.graph.eliminate_dead_code()
    traced.recompile()
    return traced


def layer_norm_back(
    graph: fx.Graph, grad: fx.Node, x: fx.Node, weight: fx.Node | None, eps: float, axes: list[int]
) -> fx.Node:
    """With h = (x - mean) / sigma and w = grad * weight: (w - mean(w) - h mean(w h)) / sigma, over the last axes."""

    def mean(value: fx.Node) -> fx.Node:
        return graph.call_function(aten.mean.dim, (value, axes, True))

    def sub(left: fx.Node, right: fx.Node) -> fx.Node:
        return graph.call_function(aten.sub.Tensor, (left, right))

    def mul(left: fx.Node, right: fx.Node) -> fx.Node:
        return graph.call_function(aten.mul.Tensor, (left, right))

    centred = sub(x, mean(x))
    variance = graph.call_function(aten.add.Scalar, (mean(mul(centred, centred)), eps))
    inverse = graph.call_function(aten.rsqrt.default, (variance,))
    h = mul(centred, inverse)
    w = grad if weight is None else mul(grad, weight)
    return mul(sub(sub(w, mean(w)), mul(h, mean(mul(w, h)))), inverse)
