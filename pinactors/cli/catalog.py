"""`pinactors catalog`: the reference catalogue that photographs are compared with."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from pinactors.analysis.model import CatalogPin
from pinactors.analysis.report.pricing import without_rate
from pinactors.catalog import exporting, snapshots
from pinactors.catalog.demo import draw_demo
from pinactors.catalog.importing.importer import import_catalog, rebuild_catalog
from pinactors.catalog.importing.rows import DEMONSTRATION_FILE, ImportReport
from pinactors.catalog.reader import Catalog
from pinactors.cli import terminal
from pinactors.protocol import View
from pinactors.storage.objects import open_objects

SALES_SHOWN = 10
MISSING_SHOWN = 20

Data = Annotated[
    Path | None, typer.Option(help="Data folder with the catalogue. [default: this user's data folder]")
]
Folder = Annotated[
    Path | None,
    typer.Option(
        "--catalog", help="The catalogue folder itself, instead of a data folder.", show_default=False
    ),
]

T = TypeVar("T")

app = typer.Typer(
    no_args_is_help=True,
    help="Import, list and show the reference catalogue. A running server sees a new import by itself.",
)


@app.command("import")
def import_(
    source: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder with pins.csv, sales.csv, fx.csv and the pictures.")
    ],
    data: Data = None,
    catalog: Folder = None,
    encoding: Annotated[
        str,
        typer.Option(
            help="Encoding of the CSV files, such as cp1250; UTF-8, UTF-16 and Windows-1252 are recognised.",
            show_default=False,
        ),
    ] = "",
) -> None:
    """Import a folder of pins. May be repeated: unchanged rows are skipped.

    pins.csv: pin_id, name, characters (separated by ;), series, year, edition_size (empty: open edition),
    brand, factory_code, front_image, back_image, and optionally mask (a picture, white where the pin of
    front_image is) or box (x,y,width,height as shares of front_image). sales.csv: pin_id, sold_at, price,
    currency, and optionally condition, source. fx.csv: currency, usd_per_unit. Only pins.csv is needed, with
    pin_id, name and front_image. The sales of a pin in sales.csv replace all its earlier ones. Pictures are
    named relative to DIR or to DIR/images; an existing pin keeps its pictures if front_image is empty.
    Files can be as spreadsheets export them: separated by comma, semicolon or
    tab, 12.50 or 12,50, dates as 2025-12-31 or 31.12.2025. Rows that are ambiguous or not valid
    are reported with their lines and left out; the others are imported. Exit status 1 if a row was left out.
    """
    with terminal.explaining(), terminal.progress_bar("importing") as progress:
        report = import_catalog(source, folder(data, catalog), progress, encoding=encoding)
    print_report(report)
    if report.problems:
        raise typer.Exit(1)


@app.command()
def rebuild(data: Data = None, catalog: Folder = None) -> None:
    """Update a catalogue made by an earlier version, from its own pictures.

    Needed when the server reports that its catalogue was made by another version. The folder from which it
    was imported is not needed. Exit status 1 if a picture is damaged.
    """
    with terminal.explaining(), terminal.progress_bar("rebuilding") as progress:
        report = rebuild_catalog(folder(data, catalog), progress)
    terminal.output.print(f"{report.updated} pictures were read again; {report.size} pins in all.")
    terminal.complain_of([problem.message for problem in report.problems], "damaged pictures")
    if report.problems:
        raise typer.Exit(1)


@app.command("list")
def list_(
    search: Annotated[
        str, typer.Argument(help="Part of an id, name, character, series or code.", callback=terminal.text)
    ] = "",
    limit: Annotated[int, typer.Option(min=1, help="Show at most this many.")] = 50,
    offset: Annotated[int, typer.Option(min=0, help="Skip this many at the start.")] = 0,
    data: Data = None,
    catalog: Folder = None,
) -> None:
    """List pins, those that contain SEARCH if it is given."""
    opened = _open(data, catalog)
    pins = opened.pins(search, limit + 1, offset)
    rows = [
        (
            pin.pin_id,
            pin.name,
            "; ".join(pin.characters),
            pin.series or "",
            str(pin.year or ""),
            _edition(pin),
        )
        for pin in pins[:limit]
    ]
    terminal.table("pin", "name", "characters", "series", "year", "edition", rows=rows)
    if len(pins) > limit:
        terminal.errors.print(f"More with --offset {offset + limit}.", style="dim")
    _print_demonstration_note(opened)


@app.command()
def show(
    pin_id: Annotated[str, typer.Argument(help="Id of the pin, from the list.", callback=terminal.text)],
    data: Data = None,
    catalog: Folder = None,
) -> None:
    """Show one pin: its facts, pictures and latest sales."""
    opened = _open(data, catalog)
    pin = opened.pin(pin_id)
    if pin is None:
        pins = terminal.command("catalog", "list", data=data, catalog=catalog)
        terminal.stop(f"there is no pin {pin_id}; `{pins}` shows them")
    sales = opened.sales(pin_id)
    facts: list[tuple[str, object]] = [
        ("pin", pin.pin_id),
        ("name", pin.name),
        ("characters", "; ".join(pin.characters)),
        ("series", pin.series),
        ("year", pin.year),
        ("edition", _edition(pin)),
        ("brand", pin.brand),
        ("factory code", pin.factory_code),
        *((f"{view} picture", opened.picture(pin_id, view)) for view in (View.FRONT, View.BACK)),
        ("sales", len(sales)),
    ]
    rows = [(name, str(value)) for name, value in facts if value is not None and value != ""]
    for sale in sales[:SALES_SHOWN]:
        price = f"{sale.price:9.2f} {sale.currency}  {sale.condition}  {sale.source}"
        rows.append((sale.sold_at.isoformat(), price))
    terminal.table("", "", rows=rows, header=False)
    _print_demonstration_note(opened)


@app.command()
def stats(
    missing: Annotated[
        int, typer.Option(min=0, help="Name at most this many pins without a back picture.")
    ] = MISSING_SHOWN,
    data: Data = None,
    catalog: Folder = None,
) -> None:
    """Count pins, pictures and sales, and name the pins whose back picture is missing."""
    opened = _open(data, catalog)
    counts = opened.stats()
    between = f", {counts.sales_from} to {counts.sales_to}" if counts.sales_from else ""
    rows = [
        ("folder", str(opened.folder)),
        ("version", counts.version or "none: nothing was imported"),
        ("pins", f"{counts.pins:,} ({counts.backs:,} with their back)"),
        ("sales", f"{counts.sales:,}{between}"),
    ]
    unrated = without_rate(counts.currencies, opened.rates())
    currencies = {f"{key} (no rate)" if key in unrated else key: n for key, n in counts.currencies.items()}
    for name, groups in (("currencies", currencies), ("brands", counts.brands)):
        rows.append((name, ", ".join(f"{key} {value:,}" for key, value in groups.items())))
    if counts.years:
        rows.append(("years", f"{min(counts.years)} to {max(counts.years)}"))
    rows.append(("size on disk", f"{counts.bytes / 1e6:,.1f} MB"))
    terminal.table("", "", rows=rows, header=False)
    _print_missing(opened, counts.pins - counts.backs, missing)
    _print_demonstration_note(opened)


@app.command()
def export(
    target: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder to write; it must be empty or absent.")
    ],
    data: Data = None,
    catalog: Folder = None,
) -> None:
    """Write the catalogue as a folder that import reads."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        terminal.stop(f"{target} is not an empty folder", terminal.USAGE)
    with terminal.explaining():
        count = exporting.export(_open(data, catalog), target)
    terminal.output.print(f"{count} pins were written to {target}.")


@app.command()
def publish(data: Data = None, catalog: Folder = None) -> None:
    """Upload the catalogue to the storage, as a version that never changes.

    The storage is PINACTORS_STORAGE. Files that an earlier version has are not uploaded again.
    """
    source = _open(data, catalog)
    if not source.size:
        raise typer.Exit(1)
    with terminal.explaining(), terminal.progress_bar("publishing") as progress:
        version = snapshots.publish(source.folder, open_objects(terminal.settings(data=data)), progress)
    terminal.output.print(f"Published as {version}, which is the latest version now.")


@app.command()
def demo(
    target: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write.")],
) -> None:
    """Draw the demonstration catalogue as a folder that import reads: made-up pins with made-up sales."""
    if not (target / DEMONSTRATION_FILE).exists():
        for name in ("pins.csv", "sales.csv"):
            if (target / name).exists():
                terminal.stop(f"{target} has a {name} that is not the demonstration's", terminal.USAGE)
    with terminal.explaining(), terminal.progress_bar("drawing") as progress:
        draw_demo(target, dt.datetime.now(dt.UTC).date(), progress)
    terminal.output.print(f"Next: {terminal.command('catalog', 'import', target)}")


def print_report(report: ImportReport) -> None:
    """Prints the result of an import, with its problems on standard error."""
    terminal.output.print(
        f"{report.added} pins added, {report.updated} updated, {report.unchanged} unchanged, "
        f"{report.sales} sales; {report.size} pins in all."
    )
    if report.sales_replaced:
        terminal.output.print(
            f"{report.sales_replaced} earlier sales of {report.pins_resold} pins replaced by sales.csv."
        )
    for name, problems in (("left out", report.problems), ("imported with a warning", report.warnings)):
        terminal.complain_of([f"{problem} ({name})" for problem in problems], f"rows {name}")


def folder(data: Path | None, catalog: Path | None) -> Path:
    return catalog or terminal.settings(data=data).catalog_folder


def _open(data: Path | None, catalog: Path | None) -> Catalog:
    with terminal.explaining():
        opened = Catalog.open(folder(data, catalog))
    if not opened.size:
        importing = terminal.command("catalog", "import", data=data, catalog=catalog)
        terminal.errors.print(f"{opened.folder} contains no catalogue; `{importing} DIR` makes one.")
    return opened


def _print_missing(opened: Catalog, count: int, shown: int) -> None:
    """Names pins without a back picture. Most evidence is on the back, so that fewer verdicts are possible
    without it."""
    if count <= 0:
        return
    named = opened.without_back(shown)
    more = f" and {count - len(named):,} more" if count > len(named) else ""
    terminal.output.print(
        f"{count:,} pins have no back picture to compare the stamp and pattern of a photographed back with. "
        "Add a back_image in pins.csv to make verdicts more often possible for "
        f"{terminal.clean(', '.join(named))}{more}.",
    )


def _edition(pin: CatalogPin) -> str:
    return f"{pin.edition_size:,}" if pin.edition_size else "open"


def _print_demonstration_note(opened: Catalog) -> None:
    if opened.demonstration:
        terminal.errors.print(
            "This catalogue is a demonstration: pins and sales are made up.", style="yellow"
        )
