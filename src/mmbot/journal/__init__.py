"""
The journal of a run: every input before it is acted on, every output, in the order of happening.

    records    what is written, and its form
    blocks     files, blocks and checksums: bytes in, bytes out
    writer     a thread that writes them, off the way of an order
    reader     what can be read of a journal, whole, cut or damaged
    build      which program wrote it
"""
