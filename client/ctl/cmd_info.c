/* cmd_info.c: dreamctl info. */
#include "client/c/internal.h"
#include "client/ctl/ctl.h"
#include "dreamd/v1/registry.pb-c.h"

static const char *const help =
    "dreamctl info                what the daemon is, allows and holds\n"
    "dreamctl info --json | jq .limits.session_rows_max\n";

Dreamd__V1__GetServerInfoResponse *ctl_server_info(const ctl_common *common)
{
    dreamd_client *client = ctl_connect(common);
    if (!client) {
        return NULL;
    }
    Dreamd__V1__GetServerInfoRequest request = DREAMD__V1__GET_SERVER_INFO_REQUEST__INIT;
    Dreamd__V1__GetServerInfoResponse *info = NULL;
    dreamd_error err;
    int code = dreamd__call(&info, client, "/dreamd.v1.Registry/GetServerInfo", &request.base,
                            &dreamd__v1__get_server_info_response__descriptor, &err);
    dreamd_disconnect(client);
    if (code != DREAMD_OK) {
        ctl_fail(common, &err);
        return NULL;
    }
    return info;
}

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
    Dreamd__V1__GetServerInfoResponse *info = ctl_server_info(&arguments.common);
    if (!info) {
        return CTL_FAILED;
    }
    ctl_print(&arguments.common, ctl_json_of(&info->base));
    dreamd__v1__get_server_info_response__free_unpacked(info, NULL);
    return CTL_DONE;
}
