import { Match, Switch } from "solid-js";
import type { Api } from "../../core/api.ts";
import type { Me } from "../../core/api-types.ts";
import { workspaceOf } from "../../core/model/state.ts";
import { followInPage } from "../router.ts";
import { Splitter } from "../widgets/splitter.tsx";
import { Dialogs } from "./dialogs.tsx";
import { EditorPane } from "./editor-pane.tsx";
import { FileTree } from "./file-tree.tsx";
import { Notices } from "./notices.tsx";
import { ProcessList } from "./process-list.tsx";
import { TerminalPane } from "./terminal-pane.tsx";
import { TopBar } from "./top-bar.tsx";
import { Workbench } from "./workbench.ts";

/** The page of one workspace. */
export default function IdePage(props: { api: Api; me: Me; workspaceId: string; onSignedOut: () => void }) {
  const bench = new Workbench(props.api, props.workspaceId, props.onSignedOut);
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
              <h1>Not here</h1>
              <p role="alert">{text()}</p>
              <a class="button" href="/" onClick={followInPage}>
                All workspaces
              </a>
            </main>
          )}
        </Match>
        <Match when={workspaceOf(bench.state)}>
          <div class="ide">
            <TopBar bench={bench} />
            <div class="ide-body" data-layout>
              <aside class="side">
                <FileTree bench={bench} />
                <ProcessList bench={bench} />
              </aside>
              <Splitter label="Width of the side bar" axis="x" property="--side" initial={260} least={160} />
              <main class="work" data-layout>
                <EditorPane bench={bench} />
                <Splitter label="Height of the terminals" axis="y" property="--terminals" initial={280} least={90} />
                <TerminalPane bench={bench} />
              </main>
            </div>
            <Dialogs bench={bench} />
          </div>
        </Match>
      </Switch>
      <Notices bench={bench} />
    </>
  );
}
