"""Functions with a custom backward pass that JAX can still differentiate in every mode.

`jax.custom_vjp` supports neither forward mode nor reverse-mode second derivatives.
`jax.custom_jvp` cannot define a backward pass, and `jax.checkpoint` ignores its rule.
`jax.custom_derivatives.linear_call` supports neither `vmap` nor second derivatives. This module
therefore defines two primitives: a function with a custom derivative, and a linear function with a
custom transpose.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive, jaxpr_as_fun, unmapped_aval
from jax.interpreters import ad, batching, mlir


def with_backward(
    reference: Callable[[Any, Any], Any],
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    fixed: Any,
    operands: Any,
) -> Any:
    """Compute `forward`, with `backward` as its gradient.

    All other derivatives (forward mode, second derivatives) are those of `reference`.

    Args:
      reference: ``reference(fixed, operands)``, differentiable by JAX with respect to `operands`.
      forward: ``forward(fixed, operands, save)`` returns the result of `reference` and the
        residuals for `backward`, a pytree of float arrays. Without `save` the residuals are unused.
      backward: ``backward(fixed, operands, residuals, cotangents)`` returns the gradients with
        respect to `operands`.
      fixed: arrays without a gradient.
      operands: float arrays.
    """

    def run(fixed: Any, operands: Any, save: bool) -> Any:
        return _call(functools.partial(forward, save=save), derivative, fixed, operands)

    def derivative(fixed: Any, operands: Any, tangents: Any) -> Any:
        outputs, residuals = run(fixed, operands, save=True)
        known = fixed, operands, residuals
        d_outputs = linear_call(tangent, gradient, known, tangents, like=outputs)
        # The tangents of the residuals are never used: only `backward` reads the residuals.
        return (outputs, residuals), (d_outputs, jax.tree.map(jnp.zeros_like, residuals))

    def tangent(known: Any, tangents: Any) -> Any:
        fixed, operands, _ = known
        return jax.jvp(functools.partial(reference, fixed), (operands,), (tangents,))[1]

    def gradient(known: Any, cotangents: Any) -> Any:
        fixed, operands, residuals = known

        def by_backward(known: Any, varying: Any) -> Any:
            (fixed, residuals), (operands, cotangents) = known, varying
            return backward(fixed, operands, residuals, cotangents)

        def derivative(known: Any, varying: Any, tangents: Any) -> Any:
            def by_reference(operands: Any, cotangents: Any) -> Any:
                of_operands = functools.partial(reference, known[0])
                return jax.vjp(of_operands, operands)[1](cotangents)[0]

            return jax.jvp(by_reference, varying, tangents)

        return _call(by_backward, derivative, (fixed, residuals), (operands, cotangents))

    return run(fixed, operands, save=False)[0]


def _call(
    apply: Callable[[Any, Any], Any],
    derivative: Callable[[Any, Any, Any], Any],
    known: Any,
    operands: Any,
) -> Any:
    """Compute ``apply(known, operands)``, with a custom derivative.

    ``derivative(known, operands, tangents)`` returns the result of `apply` and its tangents.
    """
    flat, count, unflatten = _flatten(known, operands)
    end = len(flat)  # The rule outlives the trace, and must not hold its arrays.

    def flat_apply(*args: Any) -> Any:
        return apply(*unflatten(args))

    def flat_derivative(*args: Any) -> list[Any]:
        _, tangents = unflatten((*args[:count], *args[end:]))
        return jax.tree.leaves(derivative(*unflatten(args[:end]), tangents))

    jaxpr, shapes = jax.make_jaxpr(flat_apply, return_shape=True)(*flat)
    results = _call_p.bind(
        *flat,
        apply=jaxpr_as_fun(jaxpr),
        rule=flat_derivative,
        count=count,
        results=tuple(jaxpr.out_avals),
    )
    return jax.tree.unflatten(jax.tree.structure(shapes), results)


def linear_call(
    apply: Callable[[Any, Any], Any],
    transpose: Callable[[Any, Any], Any],
    known: Any,
    operands: Any,
    *,
    like: Any,
) -> Any:
    """Compute ``apply(known, operands)``, with the transpose ``transpose(known, cotangents)``.

    Args:
      apply: a function that is linear in `operands` and that JAX can differentiate with respect to
        both arguments.
      transpose: its transpose.
      known: arrays.
      operands: float arrays.
      like: arrays with the shapes and dtypes of the result.
    """
    flat, count, unflatten = _flatten(known, operands)
    like, like_tree = jax.tree.flatten(like)

    def flat_apply(*args: Any) -> list[Any]:
        return jax.tree.leaves(apply(*unflatten(args)))

    def flat_transpose(*args: Any) -> list[Any]:
        return jax.tree.leaves(transpose(*unflatten(args, like_tree)))

    results = _linear_call_p.bind(
        *flat,
        apply=flat_apply,
        rule=flat_transpose,
        count=count,
        results=tuple(map(jax.typeof, like)),
    )
    return jax.tree.unflatten(like_tree, results)


def _flatten(known: Any, operands: Any) -> tuple[list[Any], int, Callable[..., tuple[Any, Any]]]:
    """All arrays in one list, the number of known ones, and a function that undoes this."""
    known, known_tree = jax.tree.flatten(known)
    operands, operands_tree = jax.tree.flatten(operands)
    count = len(known)

    def unflatten(args: Any, tree: Any = operands_tree) -> tuple[Any, Any]:
        return jax.tree.unflatten(known_tree, args[:count]), jax.tree.unflatten(tree, args[count:])

    return [*known, *operands], count, unflatten


def _primitive(name: str, rule_takes: Callable[[int, int], int]) -> Primitive:
    """Make a primitive that computes `apply` and whose derivative or transpose is `rule`.

    Its arguments are `count` known arrays followed by the operands; `results` are the abstract
    values of its results. `rule` takes the known arrays and ``rule_takes(operands, results)`` more,
    where the arguments are the numbers of operands and results.
    """
    primitive = Primitive(name)
    primitive.multiple_results = True
    primitive.def_abstract_eval(lambda *args, results, **params: results)

    @primitive.def_impl
    def impl(*args: Any, apply: Any, **params: Any) -> Any:
        return apply(*args)

    def batch(args: Any, axes: Any, *, apply: Any, rule: Any, count: int, results: Any) -> Any:
        sizes = [arg.shape[axis] for arg, axis in zip(args, axes, strict=True) if axis is not None]
        size = sizes[0]
        operands = [
            batching.bdim_at_front(operand, axis, size)
            for operand, axis in zip(args[count:], axes[count:], strict=True)
        ]
        known_axes = tuple(axes[:count])
        varying = rule_takes(len(operands), len(results))
        batched = primitive.bind(
            *args[:count],
            *operands,
            apply=jax.vmap(apply, (*known_axes, *[0] * len(operands)), axis_size=size),
            rule=jax.vmap(rule, (*known_axes, *[0] * varying), axis_size=size),
            count=count,
            results=tuple(unmapped_aval(size, 0, result) for result in results),
        )
        return batched, [0] * len(results)

    mlir.register_lowering(primitive, mlir.lower_fun(impl, multiple_results=True))
    batching.primitive_batchers[primitive] = batch
    return primitive


_call_p = _primitive("call_with_derivative", lambda operands, results: 2 * operands)
_linear_call_p = _primitive("call_with_transpose", lambda operands, results: results)


def _jvp(primals: Any, tangents: Any, *, rule: Any, count: int, **params: Any) -> Any:
    results = rule(*primals, *map(ad.instantiate_zeros, tangents[count:]))
    return results[: len(results) // 2], results[len(results) // 2 :]


def _linear_jvp(primals: Any, tangents: Any, *, apply: Any, count: int, **params: Any) -> Any:
    call = functools.partial(_linear_call_p.bind, apply=apply, count=count, **params)
    sums = [ad.Zero(result) for result in params["results"]]

    def add(tangents: Any) -> None:
        sums[:] = map(ad.add_tangents, sums, tangents)

    if any(type(tangent) is not ad.Zero for tangent in tangents[count:]):
        add(call(*primals[:count], *map(ad.instantiate_zeros, tangents[count:])))
    moving = [n for n in range(count) if type(tangents[n]) is not ad.Zero]
    if moving:

        def of_moving(*values: Any) -> Any:
            args = list(primals)
            for n, value in zip(moving, values, strict=True):
                args[n] = value
            return apply(*args)

        starts, directions = ([of[n] for n in moving] for of in (primals, tangents))
        add(jax.jvp(of_moving, starts, directions)[1])
    return call(*primals), sums


def _linear_transpose(
    cotangents: Any, *args: Any, rule: Any, count: int, **params: Any
) -> list[Any]:
    gradients = rule(*args[:count], *map(ad.instantiate_zeros, cotangents))
    return [None] * count + [
        gradient if ad.is_undefined_primal(operand) else None
        for operand, gradient in zip(args[count:], gradients, strict=True)
    ]


ad.primitive_jvps[_call_p] = _jvp
ad.primitive_jvps[_linear_call_p] = _linear_jvp
ad.primitive_transposes[_linear_call_p] = _linear_transpose
