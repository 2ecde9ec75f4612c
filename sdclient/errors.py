"""The whole error tree of `sdclient`.

Catch `SDClientError` for everything, a branch for a kind, a leaf for one cause::

    SDClientError
    ├── WebUIError                    something between the client and the server
    │   ├── ServerUnreachable         nothing answers at this address
    │   ├── ServerLoading             something answers, but it is not ready yet
    │   ├── ApiDisabled               a WebUI that was started without --api
    │   ├── NotAWebUI                 another program answers at this address
    │   ├── RequestTimedOut           no connection, or no answer, in time
    │   ├── Unauthorized              name or password missing or wrong
    │   ├── TooManyRequests           a gateway limits the rate of requests
    │   ├── RequestRejected           the request itself is wrong; sending it again cannot help
    │   │   ├── NotFound              the path or the thing it names is not there
    │   │   ├── BadImage              an image the server could not read
    │   │   └── UnknownSetting        a sampler, scheduler or option the server does not have
    │   ├── ServerFault               the server failed; another try may work
    │   │   ├── ServerOutOfMemory     too large a size or batch for its memory
    │   │   └── ModelProducedNaN      the model computed no image
    │   ├── SettingSubstituted        it used another setting than the requested one
    │   ├── LossyFormat               it sends images in a format that loses detail
    │   ├── IncompleteReply           fewer images than requested, or an interrupted job
    │   └── UnexpectedReply           a reply that does not have the shape of the API
    └── ProjectError                  something about the user's own files
        ├── SourceError               source images: missing, unreadable, empty class, not numbered
        ├── AnnotationError           a YOLO or VOC box file that cannot be used
        ├── MaskError                 a mask that is missing, empty, or does not fit its image
        ├── PlanError                 a plan that is not possible or does not fit the sources
        ├── OutputError               an output folder that cannot be written or does not fit the run
        ├── ExportError               images that cannot be exported, or a folder that must not hold them
        ├── ManifestError             a manifest that is missing, broken or from a newer version
        ├── ReviewConflict            an image that was decided on another page meanwhile
        ├── ModelFileError            a saved diffusion model that cannot be used, or a pickle
        ├── SettingsError             a value among the user's own settings that cannot be used
        ├── DataError                 a folder of images that is missing or is a file
        │   └── UnreadableImage       a file that cannot be decoded as an image
        ├── FolderInUse               another process writes into the same folder
        └── MissingExtra              a part of the software that is not installed

A message is one line: the thing, what was found, what was expected and what to do next.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sdcore.errors import (
    AnnotationError as AnnotationError,
    DataError as DataError,
    FolderInUse as FolderInUse,
    MissingExtra as MissingExtra,
    ModelFileError as ModelFileError,
    ProjectError as ProjectError,
    SDError,
    SettingsError as SettingsError,
    UnreadableImage as UnreadableImage,
)

SDClientError = SDError
"""Base of every error this package raises on purpose; each survives pickling."""


class WebUIError(SDClientError):
    """Something went wrong between this client and the server.

    Attributes:
        status: HTTP status of the reply, or None when there was no reply.
        server_words: the server's own message, shortened and without image data; "" without one.
    """

    def __init__(self, message: str, *, status: int | None = None, server_words: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.server_words = server_words


class ServerUnreachable(WebUIError):
    """Nothing listens at the address, its name does not resolve, or the connection broke.

    Attributes:
        may_have_arrived: whether the server may have received the request before the connection broke.
    """

    def __init__(self, message: str, *, may_have_arrived: bool = False) -> None:
        super().__init__(message)
        self.may_have_arrived = may_have_arrived


class ServerLoading(WebUIError):
    """The server is still starting or loading its model; wait and try again."""


class ApiDisabled(WebUIError):
    """The WebUI runs, but was started without `--api`."""


class NotAWebUI(WebUIError):
    """Another program answers at the address."""


class RequestTimedOut(WebUIError):
    """No connection or no answer within the time allowed.

    Attributes:
        phase: "connect" or "read". After "read" the server may still be working on the request.
    """

    def __init__(self, message: str, *, phase: str) -> None:
        super().__init__(message)
        self.phase = phase


class Unauthorized(WebUIError):
    """The server wants a name and password, or refuses the ones given."""


class TooManyRequests(WebUIError):
    """A gateway limits the rate of requests.

    Attributes:
        retry_after_s: seconds to wait; None if the gateway does not say.
    """

    def __init__(self, message: str, *, server_words: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message, status=429, server_words=server_words)
        self.retry_after_s = retry_after_s


class RequestRejected(WebUIError):
    """The request is wrong; sending the same request again cannot help.

    Attributes:
        field: the request field at fault, if known.
    """

    def __init__(
        self, message: str, *, status: int | None = None, server_words: str = "", field: str | None = None
    ) -> None:
        super().__init__(message, status=status, server_words=server_words)
        self.field = field


class NotFound(RequestRejected):
    """The path, or the thing that the request names, is not on this server."""


class BadImage(RequestRejected):
    """An image cannot be read: one of the request by the server, or one by this client."""


class UnknownSetting(RequestRejected):
    """A sampler, scheduler or option that this server does not have; the message lists similar names."""


class ServerFault(WebUIError):
    """The server failed with 5xx; the request may be fine."""


class ServerOutOfMemory(ServerFault):
    """The server ran out of memory; a smaller size or batch may work."""


class ModelProducedNaN(ServerFault):
    """The model computed not-a-number instead of an image; see the server's `--no-half-vae`."""


class SettingSubstituted(WebUIError):
    """The server silently used another value (`used`) for a `setting` than the requested one (`asked`)."""

    def __init__(self, setting: str, asked: object, used: object, advice: str = "") -> None:
        advice = advice or "ask for one that the server lists"
        super().__init__(f"the server used {setting} {used!r} instead of {asked!r}; {advice}")
        self.setting, self.asked, self.used = setting, asked, used


class LossyFormat(WebUIError):
    """The server is set to send JPEG or another format that loses detail."""


class IncompleteReply(WebUIError):
    """The reply holds fewer images (`got`) than requested (`asked`)."""

    def __init__(self, message: str, *, asked: int, got: int) -> None:
        super().__init__(message)
        self.asked, self.got = asked, got


class UnexpectedReply(WebUIError):
    """The reply does not have the shape that the contract promises."""


class SourceError(ProjectError):
    """Source images are missing, unreadable, not numbered, or a class folder is empty."""


class MaskError(ProjectError):
    """A mask is missing, unreadable, empty, or does not fit its image."""


class PlanError(ProjectError):
    """A plan is impossible, unreadable, or does not fit the source images."""


class OutputError(ProjectError):
    """An output folder cannot be written, or holds a run with other parameters."""


class ExportError(ProjectError):
    """Images cannot be exported as requested, or the folder must not hold generated ones."""


class ManifestError(ProjectError):
    """A manifest is missing, damaged, or written by a newer version."""


class ReviewConflict(ProjectError):
    """An image was decided on another page meanwhile."""


@contextmanager
def unreadable_as(kind: type[BadImage | SourceError]) -> Iterator[None]:
    """Raise an image that cannot be read as the error of the client (`BadImage`) or of the sources (`SourceError`)."""
    try:
        yield
    except UnreadableImage as error:
        raise kind(str(error)) from error
