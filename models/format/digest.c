/* digest.c: the only file that includes libcrypto's digests. */
#include "models/format/digest.h"

#include <openssl/evp.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"

struct dr_digest {
    EVP_MD_CTX *context;
};

static void start(dr_digest *digest)
{
    /* SHA-256 without an engine allocates nothing after the first start and cannot fail then. */
    DR_ASSERT(EVP_DigestInit_ex(digest->context, EVP_sha256(), NULL) == 1);
}

dr_code dr_digest_create(dr_digest **out, dr_error *err)
{
    dr_digest *digest = dr_mem_alloc(sizeof *digest);
    EVP_MD_CTX *context = digest ? EVP_MD_CTX_new() : NULL;
    if (!context || EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(context);
        dr_mem_free(digest);
        return dr_mem_fail(err, "a SHA-256 sum");
    }
    digest->context = context;
    *out = digest;
    return DR_OK;
}

void dr_digest_destroy(dr_digest *digest)
{
    if (digest) {
        EVP_MD_CTX_free(digest->context);
        dr_mem_free(digest);
    }
}

void dr_digest_update(dr_digest *digest, const void *bytes, size_t length)
{
    DR_ASSERT(EVP_DigestUpdate(digest->context, bytes, length) == 1);
}

void dr_digest_finish(char hex[DR_DIGEST_HEX], dr_digest *digest)
{
    unsigned char sum[DR_DIGEST_BYTES];
    unsigned int length = 0;
    DR_ASSERT(EVP_DigestFinal_ex(digest->context, sum, &length) == 1 && length == sizeof sum);
    for (size_t i = 0; i < sizeof sum; i++) {
        hex[2 * i] = "0123456789abcdef"[sum[i] >> 4];
        hex[2 * i + 1] = "0123456789abcdef"[sum[i] & 15];
    }
    hex[DR_DIGEST_HEX - 1] = '\0';
    start(digest);
}

dr_code dr_digest_of(char hex[DR_DIGEST_HEX], const void *bytes, size_t length, dr_error *err)
{
    dr_digest *digest;
    dr_code code = dr_digest_create(&digest, err);
    if (code == DR_OK) {
        dr_digest_update(digest, bytes, length);
        dr_digest_finish(hex, digest);
        dr_digest_destroy(digest);
    }
    return code;
}

int dr_digest_is_hex(const char *text)
{
    return strlen(text) == DR_DIGEST_HEX - 1 && strspn(text, "0123456789abcdef") == strlen(text);
}
