"""The report's page over HTTP on this machine's own address: it follows databases while runs write to them.

`work` knows which runs are at work, `traces` the order in which traces came, `analysis` the findings and figures, which
are computed aside; `app` puts them under addresses, and `server` runs it until it is stopped.
"""
