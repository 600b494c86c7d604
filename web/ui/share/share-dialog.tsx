import { createResource, createSignal, For, Show } from "solid-js";
import type { Api } from "../../core/api.ts";
import type { GrantedRole, Member, ShareLink, SharingMode, Workspace } from "../../core/api-types.ts";
import { Problem, sentence } from "../../core/problem.ts";
import { copyText } from "../clipboard.ts";
import { uuid } from "../uuid.ts";
import { IconButton } from "../widgets/icons.tsx";
import { Modal, ModalButtons } from "../widgets/modal.tsx";
import { Trouble } from "../widgets/trouble.tsx";

/** Lifetimes a share link can have, in seconds. */
const LINK_TTLS: readonly { label: string; seconds: number | null }[] = [
  { label: "an hour", seconds: 3600 },
  { label: "a day", seconds: 86_400 },
  { label: "a week", seconds: 604_800 },
  { label: "ever", seconds: null },
];

/** Who may see a workspace: its members, its organisation, and whoever holds a link. */
export function ShareDialog(props: { api: Api; workspace: Workspace; onChanged: () => void; onClose: () => void }) {
  const id = props.workspace.id;
  const [members, { refetch: refetchMembers }] = createResource(() => props.api.members(id));
  const [links, { refetch: refetchLinks, mutate: setLinks }] = createResource(() => props.api.links(id));
  const [mode, setMode] = createSignal<SharingMode>(props.workspace.sharing_mode);
  const [trouble, setTrouble] = createSignal<string | null>(null);
  const unread = () => members.error ?? links.error;
  /** The link whose address is in the clipboard. */
  const [copied, setCopied] = createSignal<string | null>(null);
  const attempt = async (work: () => Promise<unknown>): Promise<boolean> => {
    setTrouble(null);
    try {
      await work();
      return true;
    } catch (error) {
      setTrouble(sentence(error));
      return false;
    }
  };
  const setRole = (user: string, role: GrantedRole) =>
    attempt(async () => {
      try {
        await props.api.setMember(id, user, role);
      } catch (error) {
        throw error instanceof Problem && error.code === "user_not_found" ? new NobodyCalled(user) : error;
      }
      await refetchMembers();
    });
  const add = async (event: SubmitEvent & { currentTarget: HTMLFormElement }): Promise<void> => {
    event.preventDefault();
    const element = event.currentTarget;
    const form = new FormData(element);
    if (await setRole(String(form.get("user")).trim(), form.get("role") as GrantedRole)) element.reset();
  };
  const addLink = (event: SubmitEvent & { currentTarget: HTMLFormElement }): void => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    void attempt(async () => {
      const role = form.get("role") as GrantedRole;
      const seconds = LINK_TTLS[Number(form.get("ttl"))]?.seconds ?? null;
      const link = await props.api.createLink(id, role, seconds, uuid());
      setLinks((before) => [...(before ?? []), link]);
    });
  };
  return (
    <Modal title={`Share “${props.workspace.name}”`} onClose={props.onClose}>
      <label class="field">
        <span>Everyone in the organisation</span>
        <select
          aria-label="Everyone in the organisation"
          value={mode()}
          onChange={(event) => {
            const wanted = event.currentTarget.value as SharingMode;
            void attempt(async () => {
              setMode((await props.api.updateWorkspace(id, { sharing_mode: wanted })).sharing_mode);
              props.onChanged();
            });
          }}
        >
          <option value="private">has no access</option>
          <option value="view">may watch</option>
          <option value="edit">may edit and run</option>
        </select>
      </label>
      <p class="quiet hint">
        Who may watch reads files and sees output. Who may edit also writes, runs and types. Whoever has access loses it
        the moment you take it away.
      </p>
      <h3>Members</h3>
      <ul class="rows" aria-label="Members">
        <For each={members.error ? [] : members()} fallback={<li class="quiet">Nobody beside the owner.</li>}>
          {(member: Member) => (
            <li>
              <span class="grow">{member.name}</span>
              <Show when={member.role !== "owner"} fallback={<span class="quiet">owner</span>}>
                <RoleSelect
                  label={`Role of ${member.name}`}
                  value={member.role === "edit" ? "edit" : "view"}
                  onChange={(role) => void setRole(member.user_id, role)}
                />
                <IconButton
                  icon="close"
                  label={`Remove ${member.name}`}
                  onClick={() =>
                    void attempt(async () => {
                      await props.api.removeMember(id, member.user_id);
                      await refetchMembers();
                    })
                  }
                />
              </Show>
            </li>
          )}
        </For>
      </ul>
      <form class="row-form" aria-label="Add member" onSubmit={(event) => void add(event)}>
        <input name="user" required placeholder="User name" aria-label="User name" autocomplete="off" data-focus />
        <RoleSelect name="role" label="Role" value="view" />
        <button type="submit" class="button">
          Add
        </button>
      </form>
      <h3>Links, for whoever is signed in and has one</h3>
      <ul class="rows" aria-label="Links">
        <For each={links.error ? [] : links()} fallback={<li class="quiet">No links.</li>}>
          {(link) => (
            <li>
              <input
                class="link-address"
                readOnly
                aria-label="Link"
                value={address(link)}
                onFocus={(event) => event.currentTarget.select()}
              />
              <IconButton
                icon="copy"
                label="Copy link"
                onClick={() =>
                  void attempt(async () => {
                    await copyText(address(link));
                    setCopied(link.id);
                  })
                }
              />
              <IconButton
                icon="trash"
                label="Revoke link"
                onClick={() =>
                  void attempt(async () => {
                    await props.api.deleteLink(id, link.id);
                    await refetchLinks();
                  })
                }
              />
              <span class="quiet link-facts">
                {link.role === "edit" ? "may edit and run" : "may watch"}
                {link.expires_at === null ? "" : `, until ${until(link.expires_at)}`}
                <span role="status">{copied() === link.id ? " · copied" : ""}</span>
              </span>
            </li>
          )}
        </For>
      </ul>
      <form class="row-form" aria-label="New link" onSubmit={addLink}>
        <RoleSelect name="role" label="Role of the link" value="view" />
        <span class="quiet">for</span>
        <select name="ttl" aria-label="How long" class="grow">
          <For each={LINK_TTLS}>{(ttl, at) => <option value={at()}>{ttl.label}</option>}</For>
        </select>
        <button type="submit" class="button">
          Make link
        </button>
      </form>
      <Trouble text={trouble() ?? (unread() ? sentence(unread()) : null)} />
      <ModalButtons>
        <button type="button" class="button primary" onClick={() => props.onClose()}>
          Done
        </button>
      </ModalButtons>
    </Modal>
  );
}

class NobodyCalled extends Error {
  constructor(name: string) {
    super(`No user is called “${name}”. Check the name; somebody new is known once they have a login link.`);
  }
}

function until(time: string): string {
  return new Date(time).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

function address(link: ShareLink): string {
  return new URL(link.url, location.href).href;
}

function RoleSelect(props: {
  name?: string;
  label: string;
  value: GrantedRole;
  onChange?: (role: GrantedRole) => void;
}) {
  return (
    <select
      name={props.name}
      aria-label={props.label}
      value={props.value}
      onChange={(event) => props.onChange?.(event.currentTarget.value as GrantedRole)}
    >
      <option value="view">may watch</option>
      <option value="edit">may edit and run</option>
    </select>
  );
}
