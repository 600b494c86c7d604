import { Show } from "solid-js";
import type { Workspace } from "../../core/api-types.ts";
import { followInPage } from "../router.ts";
import { IconButton } from "../widgets/icons.tsx";

const SHARED = { private: "private", view: "everyone may watch", edit: "everyone may edit" } as const;

/** One workspace in the list. */
export function WorkspaceRow(props: {
  workspace: Workspace;
  onRename: () => void;
  onShare: () => void;
  onDelete: () => void;
}) {
  const date = () =>
    new Date(props.workspace.updated_at).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  const owned = () => props.workspace.role === "owner";
  return (
    <li class="workspace">
      <div class="workspace-names">
        <a href={`/w/${props.workspace.id}`} onClick={followInPage}>
          {props.workspace.name}
        </a>
        <span class="badge">{props.workspace.template}</span>
        <Show when={!owned()}>
          <span class="badge">shared: {props.workspace.role === "edit" ? "may edit" : "may watch"}</span>
        </Show>
        <Show when={owned() && props.workspace.sharing_mode !== "private"}>
          <span class="badge">{SHARED[props.workspace.sharing_mode]}</span>
        </Show>
        <Show when={props.workspace.sandbox}>{(sandbox) => <span class="badge live">{sandbox().status}</span>}</Show>
      </div>
      <time class="quiet" dateTime={props.workspace.updated_at}>
        {date()}
      </time>
      <Show when={owned()}>
        <div class="row-actions">
          <IconButton icon="share" label={`Share ${props.workspace.name}`} onClick={() => props.onShare()} />
          <IconButton icon="rename" label={`Rename ${props.workspace.name}`} onClick={() => props.onRename()} />
          <IconButton icon="trash" label={`Delete ${props.workspace.name}`} onClick={() => props.onDelete()} />
        </div>
      </Show>
    </li>
  );
}
