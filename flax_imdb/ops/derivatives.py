"""Functions with a backward pass of their own that JAX still differentiates in every mode.

`jax.custom_vjp` rules out forward mode and second derivatives in reverse mode, `jax.custom_jvp` a
backward pass of one's own. What joins them is a linear map with a transpose of its own:
`jax.custom_derivatives.linear_call` is one, but has no `vmap` and no second derivative, so here is
a primitive.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive, unmapped_aval
from jax.interpreters import ad, batching, mlir


def with_backward(
    reference: Callable[..., Any], forward: Callable[..., Any], backward: Callable[..., Any]
) -> Callable[..., Any]:
    """A function ``(static, fixed, operands)`` of arrays that has these two passes.

    They compute its value and its gradient. Any other derivative, tangents or a second one, is that
    of `reference`.

    Args:
      reference: ``(static, fixed, operands)`` to the outputs, differentiable by JAX in `operands`.
        `static` is hashable; `fixed` has no gradient.
      forward: ``(static, fixed, operands, save)`` to the outputs and, where `save` is true, the
        residuals, arrays of floats.
      backward: ``(static, fixed, operands, residuals, cotangents)`` to the gradients of `operands`.
    """

    @functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
    def run(static: Any, fixed: Any, operands: Any) -> Any:
        return forward(static, fixed, operands, save=False)[0]

    @functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
    def save(static: Any, fixed: Any, operands: Any) -> Any:
        return forward(static, fixed, operands, save=True)

    @functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
    def gradient(static: Any, known: Any, cotangents: Any) -> Any:
        return backward(static, *known, cotangents)

    def tangent(static: Any, known: Any, tangents: Any) -> Any:
        fixed, operands, _ = known
        of_operands = functools.partial(reference, static, fixed)
        return jax.jvp(of_operands, (operands,), (tangents,))[1]

    def differentiated(static: Any, primals: Any, tangents: Any) -> Any:
        outputs, residuals = save(static, *primals)
        d_outputs = linear_call(
            functools.partial(tangent, static),
            functools.partial(gradient, static),
            (*primals, residuals),
            tangents[1],
            like=outputs,
        )
        return outputs, residuals, d_outputs

    @run.defjvp
    def _(static: Any, primals: Any, tangents: Any) -> Any:
        outputs, _, d_outputs = differentiated(static, primals, tangents)
        return outputs, d_outputs

    # The residuals serve `gradient` alone, whose derivatives do not look at them.
    @save.defjvp
    def _(static: Any, primals: Any, tangents: Any) -> Any:
        outputs, residuals, d_outputs = differentiated(static, primals, tangents)
        return (outputs, residuals), (d_outputs, jax.tree.map(jnp.zeros_like, residuals))

    @gradient.defjvp
    def _(static: Any, primals: Any, tangents: Any) -> Any:
        (fixed, operands, _), cotangents = primals
        (_, d_operands, _), d_cotangents = tangents

        def by_reference(operands: Any, cotangents: Any) -> Any:
            of_operands = functools.partial(reference, static, fixed)
            return jax.vjp(of_operands, operands)[1](cotangents)[0]

        return jax.jvp(by_reference, (operands, cotangents), (d_operands, d_cotangents))

    return run


def linear_call(
    apply: Callable[[Any, Any], Any],
    transpose: Callable[[Any, Any], Any],
    known: Any,
    operands: Any,
    *,
    like: Any,
) -> Any:
    """``apply(known, operands)``, whose transpose is ``transpose(known, cotangents)``.

    Args:
      apply: linear in `operands`; JAX can differentiate it in both arguments.
      transpose: its transpose.
      known: arrays.
      operands: arrays of floats.
      like: arrays of the shapes and dtypes of the result.
    """
    known_leaves, known_tree = jax.tree.flatten(known)
    leaves, tree = jax.tree.flatten(operands)
    like_leaves, like_tree = jax.tree.flatten(like)
    count = len(known_leaves)

    def flat_apply(*args: Any) -> list[Any]:
        known, operands = known_tree.unflatten(args[:count]), tree.unflatten(args[count:])
        return jax.tree.leaves(apply(known, operands))

    def flat_transpose(*args: Any) -> list[Any]:
        known, cotangents = known_tree.unflatten(args[:count]), like_tree.unflatten(args[count:])
        return tree.flatten_up_to(transpose(known, cotangents))

    results = _linear_call.bind(
        *known_leaves,
        *leaves,
        apply=flat_apply,
        transpose=flat_transpose,
        count=count,
        results=tuple(map(jax.typeof, like_leaves)),
    )
    return like_tree.unflatten(results)


# Its arguments are `count` known arrays, then the operands.
_linear_call = Primitive("linear_call_in_every_mode")
_linear_call.multiple_results = True
_linear_call.def_abstract_eval(lambda *args, results, **params: results)


@_linear_call.def_impl
def _apply(*args: Any, apply: Any, **params: Any) -> Any:
    return apply(*args)


mlir.register_lowering(_linear_call, mlir.lower_fun(_apply, multiple_results=True))


def _jvp(primals: Any, tangents: Any, *, apply: Any, count: int, **params: Any) -> Any:
    call = functools.partial(_linear_call.bind, apply=apply, count=count, **params)
    sums = [ad.Zero(result) for result in params["results"]]

    def add(tangents: Any) -> None:
        sums[:] = map(ad.add_tangents, sums, tangents)

    if any(type(tangent) is not ad.Zero for tangent in tangents[count:]):
        add(call(*primals[:count], *map(ad.instantiate_zeros, tangents[count:])))
    moving = [n for n in range(count) if type(tangents[n]) is not ad.Zero]
    if moving:

        def of_known(*values: Any) -> Any:
            args = list(primals)
            for n, value in zip(moving, values, strict=True):
                args[n] = value
            return apply(*args)

        starts, directions = ([of[n] for n in moving] for of in (primals, tangents))
        add(jax.jvp(of_known, starts, directions)[1])
    return call(*primals), sums


def _transpose(
    cotangents: Any, *args: Any, transpose: Any, count: int, **params: Any
) -> list[Any]:
    gradients = transpose(*args[:count], *map(ad.instantiate_zeros, cotangents))
    return [None] * count + [
        gradient if ad.is_undefined_primal(operand) else None
        for operand, gradient in zip(args[count:], gradients, strict=True)
    ]


def _batch(
    args: Any, axes: Any, *, apply: Any, transpose: Any, count: int, results: Any
) -> tuple[Any, list[int]]:
    size = next(arg.shape[axis] for arg, axis in zip(args, axes, strict=True) if axis is not None)
    operands = [
        batching.bdim_at_front(operand, axis, size)
        for operand, axis in zip(args[count:], axes[count:], strict=True)
    ]
    known_axes = tuple(axes[:count])
    batched = _linear_call.bind(
        *args[:count],
        *operands,
        apply=jax.vmap(apply, (*known_axes, *[0] * len(operands))),
        transpose=jax.vmap(transpose, (*known_axes, *[0] * len(results))),
        count=count,
        results=tuple(unmapped_aval(size, 0, result) for result in results),
    )
    return batched, [0] * len(results)


ad.primitive_jvps[_linear_call] = _jvp
ad.primitive_transposes[_linear_call] = _transpose
batching.primitive_batchers[_linear_call] = _batch
