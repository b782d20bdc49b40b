"""TAP3 files (GSMA TD.57): charges between operators, read, checked, written; RAP (TD.32): what is returned of them.

with open_tap(path) as tap:                       # stream.py: bounded memory, however long the file
    tap.header["batchControlInfo"]["sender"]
    for record in tap.records(): …                # Record(number, offset, {"gprsCall": {…}})
findings = validate(path)                         # checks.py, over several cores; codes in docs/tap.md
for item in to_usage(tap): …                      # usage.py: (imsi, UsageRecord), or why a record is none
write_settled(path, batch, settled)               # usage.py: a settled period for the home billing
"""
