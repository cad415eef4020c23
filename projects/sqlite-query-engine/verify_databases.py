def make_all(out, seed): pass
