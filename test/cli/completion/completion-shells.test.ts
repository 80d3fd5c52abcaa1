/** Loads the scripts in real shells at a terminal of their own, types, presses TAB, and runs what stands there then. */
import { beforeAll, describe, expect, test } from "bun:test";
import { chmod, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { RUNS_ALL } from "../../support/all-tests.ts";
import { atTerminal } from "../../support/at-terminal.ts";
import { describeWith } from "../../support/needs.ts";
import { cliCommand } from "../../support/run-cli.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";

/** What a shell must neither run nor split. */
const HOSTILE = `my $(touch ran) 'it"s\`touch ran\`; [1] & é.pem`;
const ESCAPED = "\u001b]0;moved\u0007.pem";

/** What is typed, with TAB at the end unless it says where, and the arguments that the command gets then. */
const CASES: readonly (readonly [typed: string, args: readonly string[]])[] = [
  ["cac", ["cache"]],
  ["cache pr", ["cache", "prune"]],
  ["completion f", ["completion", "fish"]],
  ["--all-p", ["--all-platforms"]],
  ["cache --old", ["cache", "--older-than"]],
  ["proxy --read", ["proxy", "--read-only"]],
  ["--compression z", ["--compression", "zstd"]],
  ["--compression=z", ["--compression=zstd"]],
  ["--runtime p", ["--runtime", "podman"]],
  ["--platform linux/arm6", ["--platform", "linux/arm64"]],
  ["'--runtime' po", ["--runtime", "podman"]],
  ["docker-a\\tx.tar", ["docker-archive:x.tar"]],
  ["reg\\tmy/app:v1", ["registry.example.com/my/app:v1"]],
  ["--header 'a: b' --runtime ne", ["--header", "a: b", "--runtime", "nerdctl"]],
  ["--ca-file my", ["--ca-file", HOSTILE]],
  ["--ca-file=my", [`--ca-file=${HOSTILE}`]],
  ['--ca-file "my', ["--ca-file", HOSTILE]],
  ["--ca-file my\\\\ ", ["--ca-file", HOSTILE]],
  ["my", [HOSTILE]],
  ["oci:my", [`oci:${HOSTILE}`]],
  // zsh takes the slash away again where nothing follows.
  ["--cache-dir fo\\tsub", ["--cache-dir", "folder/sub"]],
  ["--cert folder/f", ["--cert", "folder/file.pem"]],
  ["team/a", ["team/app:v1"]],
  ["team/app:", ["team/app:v1"]],
  ["docker-daemon:te", ["docker-daemon:team/app:v1"]],
  ["x.tar reg", ["x.tar", "registry.example.com/"]],
  ["x.tar -t reg", ["x.tar", "-t", "registry.example.com/"]],
  ["docker://reg", ["docker://registry.example.com/"]],
  ["proxy loc", ["proxy", "localhost:5000"]],
  // The engine has an image that begins so, but with a name that would run code.
  ["evil", ["evil"]],
  ["--username x", ["--username", "x"]],
];

/** A list that is longer than the terminal would wait for a key. */
const NO_PAGER = "bind 'set page-completions off'";

const BASH = ["bash", "--noprofile", "--rcfile", "rc", "-i"];
const ZSH = ["zsh", "-d", "-i"];

/** How each is started, and what it reads then. */
const SHELLS: readonly { title: string; command: readonly string[]; rc: string; text: string }[] = [
  {
    title: "bash",
    command: BASH,
    rc: "rc",
    text: `PS1="ready> "; ${NO_PAGER}; eval "$(LOADING=1 chunkpush completion bash)"`,
  },
  {
    title: "bash without compopt, as bash 3.2 is",
    command: BASH,
    rc: "rc",
    text: `PS1="ready> "; ${NO_PAGER}; enable -n compopt; eval "$(LOADING=1 chunkpush completion bash)"`,
  },
  {
    title: "zsh",
    command: ZSH,
    rc: ".zshrc",
    text: `PS1="ready> "; setopt noautomenu; autoload -Uz compinit; compinit -u
      eval "$(LOADING=1 chunkpush completion zsh)"`,
  },
  {
    title: "zsh with the script in fpath",
    command: ZSH,
    rc: ".zshrc",
    text: `PS1="ready> "; setopt noautomenu; mkdir ../site; LOADING=1 chunkpush completion zsh >../site/_chunkpush
      fpath=(../site $fpath); autoload -Uz compinit; compinit -u`,
  },
  {
    title: "fish",
    command: ["fish", "--no-config", "-i", "-C", "source rc"],
    rc: "rc",
    text: `function fish_prompt; echo "ready> "; end; set fish_greeting
      LOADING=1 chunkpush completion fish | source`,
  },
];

/** A home with files, an engine, a login, and a chunkpush that writes down its arguments unless it completes. */
async function home(folder: string): Promise<Record<string, string>> {
  const bin = join(folder, "bin");
  const work = join(folder, "work");
  await mkdir(join(work, "folder"), { recursive: true });
  for (const name of [HOSTILE, ESCAPED, "x.tar", "folder/file.pem"]) await Bun.write(join(work, name), "");
  const chunkpush = cliCommand([]).map((word) => `'${word}'`);
  const programs = {
    chunkpush: `if [ "$1" = __complete ] || [ -n "$LOADING" ]; then exec ${chunkpush.join(" ")} "$@"; fi
      { printf '%s\\0' "$@"; echo; } >>"$HOME/ran-with"`,
    docker: `printf '%s\\n' team/app:v1 '<none>:<none>' 'evil$(touch ran):v1'`,
    podman: "exit 1",
    nerdctl: "exit 1",
  };
  for (const [name, text] of Object.entries(programs)) {
    await Bun.write(join(bin, name), `#!/bin/sh\n${text}\n`);
    await chmod(join(bin, name), 0o755);
  }
  const logins = {
    auths: { "https://registry.example.com/v1/": {}, "localhost:5000": {}, "bad\u001b[2J": {} },
  };
  await Bun.write(join(folder, ".docker/config.json"), JSON.stringify(logins));
  return { HOME: folder, ZDOTDIR: work, PATH: `${bin}:/usr/bin:/bin`, LANG: "C.UTF-8" };
}

describe.each(SHELLS)("$title", ({ title, command, rc, text }) => {
  const [shell = ""] = command;
  // Without all tests, each case meets two of the five.
  const turn = 2 * SHELLS.findIndex((each) => each.title === title);
  const cases = CASES.filter((_, i) => RUNS_ALL || (i + turn) % 5 < 2);
  describeWith(shell, "completes at a terminal", () => {
    let calls: string[][] = [];
    let screen = "";
    let ran = true;
    beforeAll(async () => {
      await using folder = await temporaryFolder();
      const env = await home(folder.path);
      const work = join(folder.path, "work");
      await Bun.write(join(work, rc), `${text}\n`);
      const lines = cases.map(([typed]) => `${typed.includes("\\t") ? typed : `${typed}\\t`}`);
      // fish would choose from its list.
      lines.push(shell === "fish" ? "x.ta\\t" : "\\t\\tx.ta\\t");
      const keys = [...lines.map((line) => `chunkpush ${line}\\n`), "exit\\n"].join("");
      ({ screen } = await atTerminal(command, { cwd: work, env, prompt: "ready> ", keys }));
      const log = await Bun.file(join(folder.path, "ran-with")).text();
      calls = log
        .split("\0\n")
        .slice(0, -1)
        .map((line) => line.split("\0"));
      ran = await Bun.file(join(work, "ran")).exists();
    }, 120_000);

    test.each(cases.map(([typed, args], i) => ({ typed, args, i })))("$typed", ({ typed, args, i }) => {
      // bash 3.2 offers files where there is nothing to offer.
      const isFile = typed === "--username x" && title.includes("3.2");
      expect(calls[i]).toEqual(isFile ? ["--username", "x.tar"] : [...args]);
    });

    test("lists what begins alike, and neither runs what a name contains nor lets it move the cursor", () => {
      expect(calls.slice(cases.length)).toEqual([["x.tar"]]);
      expect(ran).toBe(false);
      expect(screen).not.toContain("\u001b]0;moved");
      if (shell !== "fish")
        for (const listed of ["completion", "team/app:v1", "moved"]) expect(screen).toContain(listed);
    });
  });
});

describeWith("bash", "bash", () => {
  test("gets files beside other candidates so that they come out as they are", async () => {
    await using folder = await temporaryFolder();
    const env = await home(folder.path);
    const list = `eval "$(LOADING=1 chunkpush completion bash)"; COMP_LINE="chunkpush " COMP_POINT=10; _chunkpush 2>/dev/null
      eval "words=(\${COMPREPLY[*]})"; printf '%s\\0' "\${words[@]}"`;
    const child = Bun.spawn(["bash", "--norc", "-c", list], {
      cwd: join(folder.path, "work"),
      env,
      stdin: "ignore",
    });
    const words = (await child.stdout.text()).split("\0");
    for (const word of [HOSTILE, ESCAPED, "x.tar", "folder/", "cache", "team/app:v1"])
      expect(words).toContain(word);
    expect(await Bun.file(join(folder.path, "work/ran")).exists()).toBe(false);
  });
});
