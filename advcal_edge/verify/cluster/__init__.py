"""One run on many processes: of this machine, or of a Dask or Ray cluster without a shared disk."""
