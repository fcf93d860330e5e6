"""The settings: one typed, frozen object. Only the CLI reads the environment (`load`); other code receives
the object."""

from __future__ import annotations

import base64
import difflib
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from pinactors.errors import ExternalError
from pinactors.protocol import DEADLINE_SECONDS, KEEPALIVE_SECONDS

MEBIBYTE = 1 << 20

CENTURY_DAYS = 36_500

Days = Annotated[float, Field(le=CENTURY_DAYS, allow_inf_nan=False)]
KeptSeconds = Annotated[float, Field(le=CENTURY_DAYS * 86_400, allow_inf_nan=False)]
"""How long data is kept: dates that far away can still be calculated with."""

Seconds = Annotated[float, Field(le=14 * 86_400, allow_inf_nan=False)]
"""Other durations: the system can still count them in milliseconds."""

OLD_DATA_FOLDER = Path("pinactors-data")
"""The default data folder of release 0.1.0, relative to the working directory."""


def default_data_folder() -> Path:
    """This user's data folder, independent of the working directory; `OLD_DATA_FOLDER` if the working
    directory has one from an earlier release."""
    if OLD_DATA_FOLDER.is_dir():
        return OLD_DATA_FOLDER
    return platformdirs.user_data_path("pinactors", appauthor=False)


def _signing_secret(secret: str) -> str:
    """The secret as given, if events can be signed with it (Standard Webhooks, "Signature scheme")."""
    try:
        usable = not secret or bool(base64.b64decode(secret.removeprefix("whsec_") + "=="))
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("it must be base64, after whsec_ or alone")
    return secret


def _bare_address(host: str) -> str:
    """The address without the brackets that an IPv6 address has in a URL."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def _expanded(folder: Path) -> Path:
    """The folder with `~` replaced by the home folder: shells do not replace it in `--data=~/pins`, and
    systemd and Compose not in variables, so that a folder named `~` was made."""
    try:
        return folder.expanduser()
    except RuntimeError:
        raise ValueError("the home folder that ~ stands for is unknown") from None


class SettingUnusable(ExternalError):
    """A setting names something that cannot be used: a server that does not answer, a package that is not
    installed."""


class Settings(BaseModel):
    """Every setting, with its default. Durations are in seconds, sizes in bytes. A test compares the
    documentation with this class."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: Annotated[str, AfterValidator(_bare_address)] = Field(
        "127.0.0.1", description="Address the server binds to"
    )
    port: int = Field(8080, ge=0, le=65535, description="Port the server binds to; 0 picks a free one")
    data: Annotated[Path, AfterValidator(_expanded)] = Field(
        default_factory=default_data_folder,
        description="Folder of the database, images and catalogue; unnamed: this user's data folder "
        "(`~/.local/share/pinactors`), or `pinactors-data` where the working directory has one",
    )
    database_url: str = Field(
        "", description="URL of a SQLite or PostgreSQL database; empty: SQLite (WAL) in the data folder"
    )
    storage: str = Field(
        "file:",
        pattern=r"^(file:.*|s3://\S+)$",
        description="Where photographs and published catalogues are: `file:` (the data folder), "
        "`file:/folder` or `s3://bucket/prefix`",
    )
    catalog_version: str = Field(
        "",
        pattern=r"^(|latest|[0-9a-f]{16})$",
        description="Published catalogue to answer from: `latest` or a version; empty: the data folder's own",
    )
    calibration: str = Field(
        "", description="File of evidence weights from `pinactors calibrate`; empty: the one that ships"
    )
    require_keys: bool = Field(
        False, description="Whether a key is needed even if none is configured: every request is refused then"
    )
    components: str = Field(
        "", description="Plug-ins beside those that packages announce: `module:function`, separated by spaces"
    )
    workers: int = Field(0, ge=0, description="Analysis worker processes; 0: one per core")
    compute: str = Field(
        "local",
        pattern=r"^(local|ray|ray://\S+)$",
        description="Where analysis runs: `local`, `ray` (the cluster of `RAY_ADDRESS`, or this machine's) "
        "or `ray://host:port` (a Ray client server)",
    )
    worker_niceness: int = Field(
        5, ge=0, le=19, description="Niceness of workers, so that the event loop goes first"
    )
    worker_memory: int = Field(
        2048 * MEBIBYTE,
        ge=0,
        description="Memory of one worker; a photograph that needs more to be read is refused. 0: no limit",
    )

    deadline: Seconds = Field(DEADLINE_SECONDS, gt=0, description="A session's time after its work begins")
    basic_reserve: Seconds = Field(15.0, ge=0, description="Part of the deadline kept for basic analysis")
    keepalive: Seconds = Field(
        KEEPALIVE_SECONDS, gt=0, description="Silence after which a reader gets a keep-alive"
    )
    replay: KeptSeconds = Field(
        900.0, ge=0, description="How long a finished session's packets can be read again"
    )
    retention_photographs: Days = Field(
        0.0, ge=0, description="Days after which photographs are removed, their records kept; 0: never"
    )
    retention_records: Days = Field(
        0.0, ge=0, description="Days after which records are erased with all that belongs to them; 0: never"
    )
    disconnect: Literal["continue", "cancel"] = Field(
        "continue", description="What a session does when its last reader disconnects"
    )

    webhook_secret: Annotated[str, AfterValidator(_signing_secret)] = Field(
        "", repr=False, description="Signs events of uploads without a key (`whsec_…`); empty: they have none"
    )
    webhook_private: bool = Field(
        False, description="Whether events may be sent to private and loopback addresses"
    )
    webhook_retry: Seconds = Field(
        5.0, gt=0, description="Pause before an event is sent again; doubled each time, up to an hour"
    )
    webhook_expiry: KeptSeconds = Field(
        86_400.0, gt=0, description="How long delivery of an event is tried before it is given up"
    )

    vision_url: str = Field(
        "",
        pattern=r"^(https?://\S+)?$",
        description="Chat-completions API asked about unidentified pins, up to `/v1`; empty: none",
    )
    vision_model: str = Field("", description="Model that this API uses")
    vision_key: str = Field("", repr=False, description="Key sent to this API as `Authorization: Bearer`")
    vision_seconds: Seconds = Field(20.0, gt=0, description="How long an answer of this API may take")
    vision_per_minute: int = Field(20, ge=0, description="Questions sent to this API per minute")
    vision_per_day: int = Field(1000, ge=0, description="Questions sent to this API per day")
    vision_per_key_per_day: int = Field(
        200, ge=0, description="Questions sent to this API per day for one key"
    )

    max_request_bytes: int = Field(50 * MEBIBYTE, gt=0, description="Largest upload")
    max_image_pixels: int = Field(64_000_000, gt=0, description="Largest image, in pixels")
    upload_floor_bytes: int = Field(
        4096, ge=0, description="Bytes that must arrive of an upload in every floor window"
    )
    upload_floor_window: Seconds = Field(30.0, gt=0, description="Length of that window")
    upload_expiry: KeptSeconds = Field(
        3600.0,
        gt=0,
        description="How long a resumable upload is kept if no byte arrives; 60 seconds on a crowded server",
    )
    informational_responses: bool = Field(
        True,
        description="Send 104 to clients of resumable uploads; off if a proxy in front cannot pass it on",
    )
    stalled_reader: Seconds = Field(60.0, gt=0, description="How long one write to a client may take")

    restarts: int = Field(2, ge=0, description="Worker deaths a component survives within one session")
    restart_backoff: Seconds = Field(
        0.1, ge=0, description="Pause before the first repeat; doubled each time"
    )
    breaker_failures: int = Field(
        5, ge=1, description="Consecutive failures of full analysis that trip a breaker"
    )
    breaker_pause: Seconds = Field(
        60.0, gt=0, description="How long a tripped component uses basic analysis only"
    )

    max_sessions: int = Field(500, ge=1, description="Sessions under way at once; more are refused with 503")
    max_connections: int = Field(10_000, ge=1, description="Open connections at once")
    max_sessions_per_key: int = Field(
        50, ge=1, description="Sessions one key may have under way; more get 429"
    )
    rate_per_minute: int = Field(600, ge=1, description="Uploads one key may start per minute; more get 429")

    graceful_shutdown: Seconds = Field(
        95.0, gt=0, description="Time that sessions get to finish after SIGTERM"
    )
    proxy_masters: str = Field(
        "",
        description="The proxy's masters, URLs separated by spaces; `;weight=2` after one doubles its share",
    )
    proxy_secret: str = Field(
        "",
        repr=False,
        description="Secret of masters and proxies: its sender may shorten a session (`x-deadline-ms`)",
    )
    proxy_silence: Seconds = Field(
        15.0, gt=0, description="How long a master may be silent before the proxy uses another one"
    )
    proxy_health_interval: Seconds = Field(
        5.0, gt=0, description="Pause between two health checks of a master"
    )
    proxy_eject_failures: int = Field(
        3, ge=1, description="Consecutive failures after which a master is not used"
    )
    proxy_eject_pause: Seconds = Field(
        5.0, gt=0, description="How long it is not used at first; doubled each time, up to a minute"
    )

    log_format: Literal["console", "json"] = Field(
        "console", description="Format of the log on standard error"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Lowest level that is logged"
    )
    tracing_url: str = Field(
        "",
        pattern=r"^(https?://\S+)?$",
        description="OTLP receiver of spans over HTTP, such as `http://127.0.0.1:4318`; empty: none",
    )

    @property
    def storage_folder(self) -> Path:
        """The folder of `file:` storage, or of this machine's copies of other storage."""
        named = self.storage.removeprefix("file:") if self.storage.startswith("file:") else ""
        return Path(named) if named else self.data

    @property
    def images_folder(self) -> Path:
        return self.storage_folder / "images"

    @property
    def uploads_folder(self) -> Path:
        return self.data / "uploads"

    @property
    def catalog_folder(self) -> Path:
        return self.data / "catalog"

    @property
    def scratch_folder(self) -> Path:
        return self.data / "scratch"

    @property
    def proxy_folder(self) -> Path:
        return self.data / "proxy"

    @property
    def had_keys_file(self) -> Path:
        """A file that exists since the server first had keys, so that a new, empty database does not make it
        an open server."""
        return self.data / "had-keys"

    @property
    def journal_folder(self) -> Path:
        return self.data / "journal"


PREFIX = "PINACTORS_"

FILE_VARIABLE = "PINACTORS_SETTINGS"
"""The variable that names a file with further variables, one `PINACTORS_NAME=value` a line."""

_SERVICE_VARIABLE = re.compile(r"(\w+_)?(SERVICE_(HOST|PORT)|PORT_\d+_(TCP|UDP|SCTP))(_\w+)?", re.ASCII)
"""The rest of a variable's name that Kubernetes sets in containers for each service, here for one whose name
begins with `pinactors`. Its `PINACTORS_PORT` is a URL, as that of Docker's links."""


def unknown_variables(names: Iterable[str], others: Sequence[str] = ()) -> dict[str, str]:
    """Those of the environment's `names` that begin like a setting's variable but are neither one nor among
    `others`; each with the setting's variable that is most alike, or an empty text."""
    known = [name.upper() for name in Settings.model_fields]
    unknown = {}
    for name in sorted(names):
        bare = name.upper().removeprefix(PREFIX)
        if bare == name.upper() or _SERVICE_VARIABLE.fullmatch(bare):
            continue
        if bare not in known and name.upper() not in others:
            unknown[name] = "".join(f"{PREFIX}{meant}" for meant in difflib.get_close_matches(bare, known, 1))
    return unknown


class _Environment(BaseSettings, Settings):
    # An empty variable counts as not set: compose files make one of each variable that is not set.
    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True)

    @field_validator("port", mode="before")
    @classmethod
    def _not_of_a_service(cls, port: object) -> object:
        is_of_a_service = isinstance(port, str) and port.startswith("tcp://")
        return cls.model_fields["port"].default if is_of_a_service else port


def settings_file() -> Path | None:
    """The file that `FILE_VARIABLE` names, None if it names none. Raises `SettingUnusable`."""
    if not (named := os.environ.get(FILE_VARIABLE)):
        return None
    path = Path(named)
    try:
        path.read_text("utf-8")
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingUnusable(f"{FILE_VARIABLE}: {path} cannot be read: {reason}") from error
    return path


def load(**flags: Any) -> Settings:
    """Settings from `flags`, or else from `PINACTORS_…` variables, or else from the file that `FILE_VARIABLE`
    names, or else the defaults; a flag that is None counts as not given.

    Raises `pydantic.ValidationError`, which names each bad value, and `SettingUnusable`.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    return Settings(**_Environment(_env_file=settings_file(), **given).model_dump())
