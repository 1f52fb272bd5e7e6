"""The control plane's side of the protocol: which APIs are served, in which versions, by whom.

`registry` is the table; `handlers` has one file for each API Python serves; `dispatch` runs them for what the native
data plane hands up; `services` is what a handler may use. Handlers translate and delegate, they keep no state.
"""
