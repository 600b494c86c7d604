import { createEffect, createMemo, createSignal, For, Match, on, onCleanup, onMount, Show, Switch } from "solid-js";
import type { Api } from "../../core/api.ts";
import type { Me } from "../../core/api-types.ts";
import { workspaceOf } from "../../core/model/state.ts";
import { followInPage, guardLeaving } from "../router.ts";
import { Splitter } from "../widgets/splitter.tsx";
import { ReconnectPill, SandboxBar } from "./banner.tsx";
import { Dialogs } from "./dialogs.tsx";
import { EditorPane } from "./editor-pane.tsx";
import { FileTree } from "./file-tree.tsx";
import { useKeys } from "./keys.ts";
import { Notices } from "./notices.tsx";
import { ProcessList } from "./process-list.tsx";
import { TerminalPane } from "./terminal-pane.tsx";
import { TopBar } from "./top-bar.tsx";
import { Workbench } from "./workbench.ts";
import "@xterm/xterm/css/xterm.css";
import "../styles/ide.css";
import "../styles/side.css";
import "../styles/tabs.css";

/** The page of one workspace. */
export default function IdePage(props: { api: Api; me: Me; workspaceId: string; onSignedOut: () => void }) {
  const bench = new Workbench(props.api, props.workspaceId, props.onSignedOut);
  // Only on narrow screens the side bar lies over the rest, and goes when something in it was chosen.
  const [sideOpen, setSideOpen] = createSignal(false);
  const activeFile = createMemo(() => bench.state.activeFile);
  const activeTerminal = createMemo(() => bench.state.activeTerminal);
  createEffect(on([activeFile, activeTerminal], () => setSideOpen(false)));
  useKeys(bench);
  useLeaveGuard(bench);
  useDropGuard();
  const why = () => {
    const { presence } = bench.state;
    return presence.kind === "gone" ? presence.why : undefined;
  };
  return (
    <>
      <Switch fallback={<div class="page-wait" role="status" aria-label="Loading" />}>
        <Match when={why()}>
          {(text) => (
            <main class="sign-in">
              <img src="/icon.svg" alt="" width="48" height="48" />
              <h1>Not here</h1>
              <p role="alert">{text()}</p>
              <Rescue bench={bench} />
              <div class="placeholder-actions">
                <button type="button" class="button" onClick={() => location.reload()}>
                  Try again
                </button>
                <a class="button" href="/" onClick={followInPage}>
                  All workspaces
                </a>
              </div>
            </main>
          )}
        </Match>
        <Match when={workspaceOf(bench.state)}>
          <div class="ide">
            <TopBar bench={bench} sideOpen={sideOpen()} onToggleSide={() => setSideOpen((before) => !before)} />
            <SandboxBar bench={bench} />
            <div class="ide-body" classList={{ "side-open": sideOpen() }} data-layout>
              <Show when={sideOpen()}>
                <button
                  type="button"
                  class="scrim"
                  aria-label="Close the side bar"
                  onClick={() => setSideOpen(false)}
                />
              </Show>
              <aside class="side" aria-label="Files and processes">
                <FileTree bench={bench} />
                <ProcessList bench={bench} />
                <Splitter label="Width of the side bar" axis="x" property="--side" least={160} />
              </aside>
              <main class="work" data-layout>
                <EditorPane bench={bench} />
                <Splitter label="Height of the terminals" axis="y" property="--terminals" least={90} />
                <TerminalPane bench={bench} />
              </main>
            </div>
            <Dialogs bench={bench} />
          </div>
        </Match>
      </Switch>
      <ReconnectPill bench={bench} />
      <Notices bench={bench} />
    </>
  );
}

/** What was not saved when the workspace went is still here, and nowhere else. */
function Rescue(props: { bench: Workbench }) {
  const unsaved = () => props.bench.state.tabs.filter((tab) => tab.dirty);
  return (
    <Show when={unsaved().length > 0}>
      <p>Not saved:</p>
      <ul class="rescue" aria-label="Not saved">
        <For each={unsaved().map((tab) => tab.fileId)}>
          {(fileId) => (
            <li>
              <button type="button" class="button" onClick={() => props.bench.files.keepCopy(fileId)}>
                Keep a copy of {props.bench.state.tabs.find((tab) => tab.fileId === fileId)?.path}
              </button>
            </li>
          )}
        </For>
      </ul>
    </Show>
  );
}

/** A file that misses the tree must not be opened by the browser in the page's place. */
function useDropGuard(): void {
  const onDrag = (event: DragEvent): void => {
    if (event.defaultPrevented || event.dataTransfer?.types.includes("Files") !== true) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "none";
  };
  for (const type of ["dragover", "drop"] as const) {
    onMount(() => window.addEventListener(type, onDrag));
    onCleanup(() => window.removeEventListener(type, onDrag));
  }
}

/** Nobody loses unsaved texts by a link, a step back or a closed window without being asked. */
function useLeaveGuard(bench: Workbench): void {
  const unsaved = (): boolean => bench.state.tabs.some((tab) => tab.dirty || tab.saving);
  const onUnload = (event: BeforeUnloadEvent): void => {
    if (unsaved()) event.preventDefault();
  };
  onMount(() => window.addEventListener("beforeunload", onUnload));
  onCleanup(() => window.removeEventListener("beforeunload", onUnload));
  onCleanup(
    guardLeaving((to) => {
      // There is nowhere left to save them.
      if (!unsaved() || bench.state.presence.kind !== "open") return true;
      bench.context.dispatch({ type: "dialog", dialog: { kind: "leave", to } });
      return false;
    }),
  );
}
