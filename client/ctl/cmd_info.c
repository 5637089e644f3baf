/* cmd_info.c: dreamctl info. */
#include "client/c/internal.h"
#include "client/ctl/ctl.h"
#include "dreamd/v1/registry.pb-c.h"

static const char *const help =
    "dreamctl info                what the daemon is, allows and holds\n"
    "dreamctl info --json | jq .limits.session_rows_max\n";

int ctl_cmd_info(int argc, char **argv)
{
    const ctl_option options[] = {{0}};
    ctl_arguments arguments;
    if (!ctl_parse(&arguments, argc, argv, options, "info")) {
        return CTL_USAGE;
    }
    if (arguments.common.help) {
        ctl_print_help(help, options);
        return CTL_DONE;
    }
    if (arguments.word_count > 0) {
        return ctl_usage("info", "\"%s\" is one word too many", arguments.words[0]);
    }
    dreamd_client *client = ctl_connect(&arguments.common);
    if (!client) {
        return CTL_FAILED;
    }
    Dreamd__V1__GetServerInfoRequest request = DREAMD__V1__GET_SERVER_INFO_REQUEST__INIT;
    Dreamd__V1__GetServerInfoResponse *reply;
    dreamd_error err;
    int code = dreamd__call(&reply, client, "/dreamd.v1.Registry/GetServerInfo", &request.base,
                            &dreamd__v1__get_server_info_response__descriptor, &err);
    if (code == DREAMD_OK) {
        ctl_print(&arguments.common, ctl_json_of(&reply->base));
        dreamd__v1__get_server_info_response__free_unpacked(reply, NULL);
    }
    dreamd_disconnect(client);
    return code == DREAMD_OK ? CTL_DONE : ctl_fail(&arguments.common, &err);
}
