"""The verbs of the command line as functions, with the same settings; they return data.

`fitwell` names them all; nothing is imported here, so that `looking` starts without torch.
"""
