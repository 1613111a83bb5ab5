"""The shared vocabulary: limits, keys, record ids, lines, packed chunks, rejections, the result schema.

None of it has effects beyond a local work folder.
"""
