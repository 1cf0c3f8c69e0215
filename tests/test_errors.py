"""Messages for the people who read them."""

import pickle

from flax_imdb.errors import UnsupportedError, as_flags


def test_a_command_names_settings_by_their_flags() -> None:
    message = "`batch_size` 1 is too small for 2 devices; `resume` goes on in `a b` and `C`"
    assert as_flags(message) == (
        "--batch-size 1 is too small for 2 devices; --resume goes on in `a b` and `C`"
    )


def test_an_error_of_an_implementation_can_be_sent_to_another_process() -> None:
    error = pickle.loads(pickle.dumps(UnsupportedError("cudnn", "has no recurrent dropout")))
    assert str(error) == "implementation 'cudnn' has no recurrent dropout: 'auto' takes another"
