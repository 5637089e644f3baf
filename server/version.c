/* version.c: what this program was made of. */
#include "server/version.h"

#include <openssl/crypto.h>
#include <protobuf-c/protobuf-c.h>
#include <sqlite3.h>
#include <stdio.h>
#include <uv.h>

#include "models/format/json.h"
#include "models/tensor/kernels.h"
#include "server/http2.h"
#include "server/options.h"
#include "server/web.h"

#ifndef DR_COMMIT
#define DR_COMMIT "unknown"
#endif
#ifndef DR_BUILD_FLAGS
#define DR_BUILD_FLAGS "unknown flags"
#endif
#ifdef __clang__
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

const char *dr_version_commit(void)
{
    return DR_COMMIT;
}

const char *dr_version_build(void)
{
    return COMPILER ", " DR_BUILD_FLAGS;
}

const char *dr_version_instruction_set(void)
{
    return dr_kernels_name();
}

bool dr_version_library(size_t index, const char **name, const char **version)
{
    const struct {
        const char *name, *version;
    } libraries[] = {
        {"libuv", uv_version_string()},
        {"nghttp2", dr_http2_library_version()},
        {"protobuf-c", protobuf_c_version()},
        {"sqlite", sqlite3_libversion()},
        {"jansson", dr_json_library_version()},
        {"openssl", OpenSSL_version(OPENSSL_VERSION_STRING)},
        {"libwebsockets", dr_web_library_version()},
    };
    if (index >= sizeof libraries / sizeof libraries[0]) {
        return false;
    }
    *name = libraries[index].name;
    *version = libraries[index].version;
    return true;
}

void dr_options_print_version(FILE *file)
{
    const char *name, *version;
    fprintf(file, "dreamd %s\ncommit %s\nbuild %s\ninstruction set %s\nlibraries", DR_VERSION,
            DR_COMMIT, dr_version_build(), dr_version_instruction_set());
    for (size_t i = 0; dr_version_library(i, &name, &version); i++) {
        fprintf(file, "%s %s %s", i ? "," : "", name, version);
    }
    fputc('\n', file);
}
