"""Beyond one machine: photos sketched, or a bank's shards searched, by the workers of a cluster of Dask."""
