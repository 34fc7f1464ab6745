"""Quantises with llama.cpp's own libraries, without an importance matrix.

Usage: python3 llama_quantize.py LIBGGML chunk INPUT:TYPE_ID:BYTES:OUTPUT ...
       python3 llama_quantize.py LIBLLAMA file INPUT FILE_TYPE_ID:OUTPUT ...
"chunk" turns little-endian float32 weights in whole blocks into BYTES bytes of a ggml type, "file" GGUF files into others.
"""

import ctypes
import sys


class QuantizeParams(ctypes.Structure):
    """llama_model_quantize_params as far as it is needed, with room for all of it."""

    _fields_ = [("nthread", ctypes.c_int32), ("ftype", ctypes.c_int), ("others", ctypes.c_uint8 * 248)]


def quantize_chunk(library, jobs):
    quantize = library.ggml_quantize_chunk
    quantize.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p]
    quantize.restype = ctypes.c_size_t
    for job in jobs:
        source, type_id, size, target = job.split(":")
        with open(source, "rb") as file:
            weights = file.read()
        out = ctypes.create_string_buffer(int(size))
        written = quantize(int(type_id), weights, out, 0, 1, len(weights) // 4, None)
        if written != int(size):
            sys.exit(f"{written} bytes were written for type {type_id}, {size} were expected")
        with open(target, "wb") as file:
            file.write(out.raw)


def quantize_file(library, source, jobs):
    library.llama_model_quantize_default_params.restype = QuantizeParams
    library.llama_model_quantize.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.POINTER(QuantizeParams)]
    library.llama_backend_init()
    for job in jobs:
        file_type, target = job.split(":")
        params = library.llama_model_quantize_default_params()
        params.nthread = 1
        params.ftype = int(file_type)
        if library.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(params)) != 0:
            sys.exit(f"llama_model_quantize failed for file type {file_type}")


path, mode, *rest = sys.argv[1:]
if mode == "chunk":
    quantize_chunk(ctypes.CDLL(path), rest)
else:
    quantize_file(ctypes.CDLL(path), rest[0], rest[1:])
