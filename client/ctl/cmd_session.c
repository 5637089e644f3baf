/* cmd_session.c: dreamctl session open | show | list | close | reset | fork | save | restore. */
#include <stdlib.h>
#include <string.h>

#include "client/c/session.h"
#include "client/ctl/ctl.h"

static const char *const help =
    "dreamctl session open --model pendulum --rows 4 --seed 7    prints the session's id\n"
    "dreamctl session open --model pendulum@best --mode          no randomness\n"
    "dreamctl session open --model cartpole --rows 8 --starts file --ending sampled \\\n"
    "         --horizon 500 --autoreset next-step                 episodes without end\n"
    "dreamctl session list\n"
    "dreamctl session show ID                  where it stands; renews its life\n"
    "dreamctl session reset ID --seed 1        all rows at their start again\n"
    "dreamctl session reset ID --rows 0,3\n"
    "dreamctl session reset ID --rows 0,3 --starts file --indices 7,7\n"
    "dreamctl session close ID\n"
    "\nThe same world twice, or another future of it:\n"
    "dreamctl session fork ID --copies 100                   a new session, 100 copies of each "
    "row\n"
    "dreamctl session fork ID --rows 0 --copies 8 --reseed 1 eight futures of row 0\n"
    "dreamctl session fork ID --rows 2 --into 0,1            rows 0 and 1 go on as row 2 would\n"
    "dreamctl session open --model pendulum --history 100    keeps each row's last 100 states\n"
    "dreamctl session fork ID --steps-back 5                 as it was five changes ago\n"
    "\nOn the disk, and back, here or at another daemon:\n"
    "dreamctl session save ID FILE             every row as it is; the session goes on\n"
    "dreamctl session restore FILE             a new session that goes on from it, to the bit\n"
    "dreamctl session restore FILE ID          the rows of this one instead\n"
    "dreamctl session open --model pendulum --persist        lives through a crash of the daemon\n";

typedef struct {
    ctl_arguments arguments;
    dreamd_client *client;
    dreamd_session_options open;
    ctl_copies copies;
    const char *model, *label, *rows, *autoreset, *starts, *ending, *indices;
    bool has_seed, mode, has_threshold;
    double ttl_s;
} state;

static void print_session(state *s, const dreamd_session *session)
{
    ctl_print(&s->arguments.common, ctl_json_of(&session->proto->base));
}

static void fill_options(state *s)
{
    s->open.model = s->model;
    s->open.label = s->label;
    s->open.latent_mode = s->mode ? DREAMD_MODE : DREAMD_SAMPLE;
    s->open.has_seed = s->has_seed;
    s->open.ttl_ms = (uint64_t)(s->ttl_s * 1000);
}

static int open_session(state *s, dreamd_error *err)
{
    dreamd_session *session;
    fill_options(s);
    int code = dreamd_session_open(&session, s->client, &s->open, err);
    if (code != DREAMD_OK) {
        return code;
    }
    if (s->arguments.common.json) {
        print_session(s, session);
    } else {
        printf("%s\n", dreamd_session_get(session)->session_id);
    }
    dreamd_session_detach(session);
    return DREAMD_OK;
}

static int show(state *s, dreamd_error *err)
{
    dreamd_session *session;
    int code = dreamd_session_attach(&session, s->client, s->arguments.words[1], err);
    if (code == DREAMD_OK) {
        print_session(s, session);
        dreamd_session_detach(session);
    }
    return code;
}

static int list(state *s, dreamd_error *err)
{
    const char *const columns[] = {"session_id",        "label",  "model",        "rows",
                                   "committed_step_id", "status", "time_left_ms", NULL};
    Dreamd__V1__ListSessionsRequest request = DREAMD__V1__LIST_SESSIONS_REQUEST__INIT;
    json_t *rows = json_array();
    char token[256] = "";
    int code;
    do {
        Dreamd__V1__ListSessionsResponse *reply;
        request.page_token = token;
        request.model = (char *)(s->model ? s->model : "");
        code = dreamd__call(&reply, s->client, "/dreamd.v1.Simulation/ListSessions", &request.base,
                            &dreamd__v1__list_sessions_response__descriptor, err);
        if (code == DREAMD_OK) {
            for (size_t i = 0; i < reply->n_sessions; i++) {
                json_array_append_new(rows, ctl_json_of(&reply->sessions[i]->base));
            }
            snprintf(token, sizeof token, "%s", reply->next_page_token);
            dreamd__v1__list_sessions_response__free_unpacked(reply, NULL);
        }
    } while (code == DREAMD_OK && token[0]);
    if (code == DREAMD_OK) {
        ctl_print_table(&s->arguments.common, rows, columns);
    } else {
        json_decref(rows);
    }
    return code;
}

static int close_session(state *s, dreamd_error *err)
{
    dreamd_session *session;
    int code = dreamd_session_attach(&session, s->client, s->arguments.words[1], err);
    if (code == DREAMD_OK) {
        code = dreamd_session_close(session, err);
    }
    if (code == DREAMD_OK) {
        ctl_print(&s->arguments.common, json_pack("{s:s}", "closed", s->arguments.words[1]));
    }
    return code;
}

static int reset(state *s, dreamd_error *err)
{
    dreamd_session *session;
    uint32_t *rows = NULL;
    dreamd_call_options options = {0};
    uint32_t *indices = NULL;
    dreamd_reset_options how = {
        .seeds = &s->open.seed, .seed_count = s->has_seed, .from_file = s->open.from_file};
    if (s->indices && !ctl_parse_rows(&indices, &how.start_index_count, s->indices)) {
        free(indices);
        return dreamd__fail(err, DREAMD_INVALID_ARGUMENT,
                            "--indices is \"%s\", expected numbers like 0,3", s->indices);
    }
    how.start_indices = indices;
    if (s->rows && !ctl_parse_rows(&rows, &options.row_count, s->rows)) {
        free(rows);
        free(indices);
        return dreamd__fail(err, DREAMD_INVALID_ARGUMENT,
                            "--rows is \"%s\", expected numbers like 0,3", s->rows);
    }
    options.rows = rows;
    int code = dreamd_session_attach(&session, s->client, s->arguments.words[1], err);
    if (code == DREAMD_OK) {
        code = dreamd_reset(session, &how, &options, err);
        if (code == DREAMD_OK) {
            ctl_print(&s->arguments.common, ctl_json_of(&session->reply->base));
        }
        dreamd_session_detach(session);
    }
    free(rows);
    free(indices);
    return code;
}

/* ---- copies ---- */

static const ctl_copies *fill_copies(state *s, const char *id, const char *file)
{
    fill_options(s);
    s->copies.common = &s->arguments.common;
    s->copies.client = s->client;
    s->copies.id = id;
    s->copies.file = file;
    s->copies.rows = s->rows;
    s->copies.open = &s->open;
    return &s->copies;
}

static int fork_session(state *s, dreamd_error *err)
{
    return ctl_session_fork(fill_copies(s, s->arguments.words[1], NULL), err);
}

static int save(state *s, dreamd_error *err)
{
    return ctl_session_save(fill_copies(s, s->arguments.words[1], s->arguments.words[2]), err);
}

static int restore(state *s, dreamd_error *err)
{
    return ctl_session_restore(fill_copies(s, s->arguments.words[2], s->arguments.words[1]), err);
}

static const struct {
    const char *name, *words; /* what follows it, for messages */
    size_t least, most;       /* words, itself included */
    int (*run)(state *s, dreamd_error *err);
} verbs[] = {
    {"open", "", 1, 1, open_session}, {"show", " ID", 2, 2, show},
    {"list", "", 1, 1, list},         {"close", " ID", 2, 2, close_session},
    {"reset", " ID", 2, 2, reset},    {"fork", " ID", 2, 2, fork_session},
    {"save", " ID FILE", 3, 3, save}, {"restore", " FILE [ID]", 2, 3, restore},
};

static int run(state *s, int (*verb)(state *, dreamd_error *))
{
    dreamd_error err;
    s->client = ctl_connect(&s->arguments.common);
    if (!s->client) {
        return CTL_FAILED;
    }
    int code = verb(s, &err);
    dreamd_disconnect(s->client);
    return code == DREAMD_OK ? CTL_DONE : ctl_fail(&s->arguments.common, &err);
}

/* The number of `text` among names; 0 where nothing is said. Prints what is wrong. */
static bool choose(int *out, const char *option, const char *text, const char *const *names)
{
    *out = 0;
    for (int i = 0; text && names[i]; i++) {
        if (strcmp(text, names[i]) == 0) {
            *out = i;
            return true;
        }
    }
    if (text) {
        char list[96] = "";
        for (int i = 0; names[i]; i++) {
            size_t length = strlen(list);
            snprintf(list + length, sizeof list - length, "%s%s", i ? ", " : "", names[i]);
        }
        ctl_usage("session", "--%s is \"%s\", expected one of: %s", option, text, list);
    }
    return !text;
}

static int check_choices(state *s, const char *word)
{
    static const char *const AUTORESETS[] = {"disabled", "next-step", "same-step", NULL};
    static const char *const ENDINGS[] = {"never", "threshold", "sampled", NULL};
    static const char *const STARTS[] = {"initial", "file", NULL};
    int autoreset, ending, starts;
    if (!choose(&autoreset, "autoreset", s->autoreset, AUTORESETS) ||
        !choose(&ending, "ending", s->ending, ENDINGS) ||
        !choose(&starts, "starts", s->starts, STARTS)) {
        return CTL_USAGE;
    }
    s->open.autoreset = (dreamd_autoreset)autoreset;
    s->open.ending = (dreamd_ending)ending;
    s->open.from_file = starts == 1;
    if (s->has_threshold && s->open.ending != DREAMD_END_THRESHOLD) {
        return ctl_usage("session", "--threshold belongs to --ending threshold");
    }
    if (s->indices && (strcmp(word, "reset") != 0 || !s->open.from_file)) {
        return ctl_usage("session", "--indices belongs to reset with --starts file");
    }
    return CTL_DONE;
}

/* --rows is a count when a session is opened, and a selection when it is reset. */
static int check(state *s, size_t verb)
{
    const char *word = verbs[verb].name;
    size_t count = s->arguments.word_count;
    if (count < verbs[verb].least || count > verbs[verb].most) {
        return ctl_usage("session", "expected: dreamctl session %s%s", word, verbs[verb].words);
    }
    if (check_choices(s, word) != CTL_DONE) {
        return CTL_USAGE;
    }
    if (strcmp(word, "open") != 0) {
        return CTL_DONE;
    }
    if (!s->model) {
        return ctl_usage("session", "open needs --model NAME; see dreamctl models list");
    }
    char *end = NULL;
    unsigned long rows = s->rows ? strtoul(s->rows, &end, 10) : 1;
    if (s->rows && (*s->rows < '0' || *s->rows > '9' || *end || rows == 0 || rows > UINT32_MAX)) {
        return ctl_usage("session", "--rows is \"%s\", expected a whole number from 1", s->rows);
    }
    s->open.rows = (uint32_t)rows;
    return CTL_DONE;
}

int ctl_cmd_session(int argc, char **argv)
{
    state s = {0};
    const ctl_option options[] = {
        {"model", CTL_TEXT, &s.model, NULL, "NAME", "open: name[@version|@alias]; list: only its"},
        {"rows", CTL_TEXT, &s.rows, NULL, "N|I,J", "open: how many; the others: which"},
        {"seed", CTL_U64, &s.open.seed, &s.has_seed, "N", "key of the noise"},
        {"mode", CTL_FLAG, &s.mode, NULL, NULL, "open: latents at their mode, no randomness"},
        {"temperature", CTL_NUMBER, &s.open.temperature, &s.open.has_temperature, "T",
         "open: of draws, where the family defines one"},
        {"horizon", CTL_U32, &s.open.horizon, NULL, "N", "open: rows are truncated after N steps"},
        {"ttl", CTL_SECONDS, &s.ttl_s, NULL, "SECONDS", "open: life without requests"},
        {"label", CTL_TEXT, &s.label, NULL, "TEXT", "open: shown in lists"},
        {"starts", CTL_TEXT, &s.starts, NULL, "WHERE",
         "open, reset: initial, or file: the model's recorded starts"},
        {"indices", CTL_TEXT, &s.indices, NULL, "I,J",
         "reset: which starts, one a row; else drawn"},
        {"autoreset", CTL_TEXT, &s.autoreset, NULL, "HOW",
         "open: rows that ended start again: disabled, next-step, same-step"},
        {"ending", CTL_TEXT, &s.ending, NULL, "RULE",
         "open: by the continue head: never, threshold, sampled"},
        {"threshold", CTL_NUMBER, &s.open.threshold, &s.has_threshold, "C",
         "open: of --ending threshold (0.5)"},
        {"history", CTL_U32, &s.open.history, NULL, "N", "open: states of each row to go back to"},
        {"persist", CTL_FLAG, &s.open.persist, NULL, NULL,
         "open: lives through a crash (dreamd serve --persist-sessions)"},
        {"copies", CTL_U32, &s.copies.copies, NULL, "N", "fork: of each row (1)"},
        {"into", CTL_TEXT, &s.copies.into, NULL, "I,J", "fork: over these rows, no new session"},
        {"steps-back", CTL_U32, &s.copies.steps_back, NULL, "N", "fork: rows before N changes"},
        {"reseed", CTL_U64, &s.copies.reseed, &s.copies.has_reseed, "N", "fork: other noise"},
        {0},
    };
    if (!ctl_parse(&s.arguments, argc, argv, options, "session")) {
        return CTL_USAGE;
    }
    if (s.arguments.common.help) {
        ctl_print_help(help, options);
        return CTL_DONE;
    }
    const char *word = s.arguments.word_count ? s.arguments.words[0] : "";
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strcmp(word, verbs[i].name) == 0) {
            int wrong = check(&s, i);
            return wrong ? wrong : run(&s, verbs[i].run);
        }
    }
    return ctl_usage("session",
                     "\"%s\" is none of open, show, list, close, reset, fork, save, restore", word);
}
