"""From one captured request to the lines of the source file that would read it: what `leadline
sources new` prints.
"""
