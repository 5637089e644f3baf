/* five_lines.c: plans one action in the hosted pendulum, with the C library.
 *
 *     cc -Iclient/c client/recipes/five_lines.c -o five_lines \
 *         -Lbuild -ldreamd -lnghttp2 -lprotobuf-c
 *     ./five_lines 127.0.0.1:7733
 */
#include <stdio.h>

#include "dreamd.h"

int main(int argc, char **argv)
{
    const float hanging[3] = {-1, 0, 0}; /* cos, sin, speed */
    dreamd_client *client = NULL;
    dreamd_session *session = NULL;
    dreamd_error err;
    if (dreamd_connect(&client, argc > 1 ? argv[1] : "", NULL, &err) ||
        dreamd_session_open(&session, client, &(dreamd_session_options){.model = "pendulum"},
                            &err) ||
        dreamd_observe(session, hanging, NULL, NULL, &err) ||
        dreamd_plan(session, NULL, NULL, &err)) {
        fprintf(stderr, "five_lines: %s: %s\n", dreamd_code_name(err.code), err.message);
        return 1;
    }
    printf("torque %.3f\n", (double)dreamd_floats(session, "action", NULL)[0]);
    dreamd_session_close(session, NULL);
    dreamd_disconnect(client);
    return 0;
}
