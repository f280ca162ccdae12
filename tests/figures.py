"What tests ask of figures."


def title_of(ax): return "".join(ax.get_title(loc=where) for where in ("left", "center", "right"))     # where it stands depends on the style in force
