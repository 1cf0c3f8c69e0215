"""A page and an API that answer: the model of a run behind HTTP."""

from flax_imdb.serve.app import create_app
from flax_imdb.serve.limits import Limits
from flax_imdb.serve.model import About, Model, Served
from flax_imdb.serve.server import listen, serve

__all__ = ["About", "Limits", "Model", "Served", "create_app", "listen", "serve"]
