"""Bring one model up to date: its data, its training, its figures and its samples."""

if __name__ == "__main__":  # before Prefect is imported, so that --help answers at once
    from flows.command import main

    raise SystemExit(main("model", str(__doc__)))

from prefect import flow

from flows.catalogue import Workers, bring_up_to_date


@flow(name="model", flow_run_name="{name}")
def model(name: str, workers: Workers = None, scheduler: str | None = None) -> None:
    """Bring one model up to date, with all that it needs.

    Args:
        name: A model of params.yaml, as vae.
        workers: Stages at once; the number of cores, or of the scheduler's workers, where not given.
        scheduler: Address of a Dask scheduler whose workers run the stages; processes of this machine where not given.
    """
    bring_up_to_date([name], workers, scheduler)
