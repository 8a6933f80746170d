"""Readers: one module a public data set, each turning its folders into a checked sample table."""
