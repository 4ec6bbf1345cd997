import { type Activation, type Command } from './protocol.ts';
import { activate, comparable, type Recorded, type Run } from './run.ts';
import type { SandboxFactory } from './sandbox.ts';

/**
 * Runs a workflow again in another sandbox from what it was told the first time, as a worker does that takes it over.
 * Throws when it does not give the same commands: it would block for ever in production.
 */
export async function replay(run: Run, factory: SandboxFactory): Promise<void> {
  if (run.recorded.length === 0) return;
  const sandbox = await factory.open(run.identity, run.startedAt);
  try {
    for (const [index, recorded] of run.recorded.entries()) {
      const { activation, commands } = asHistory(recorded, [...run.flags]);
      const text = comparable(commands);
      const again = comparable(await activate(sandbox, activation, `replay of workflow ${run.id}`));
      if (again !== text)
        throw new Error(
          `workflow ${run.id} is not deterministic: activation ${index + 1} of ${run.recorded.length} (${kinds(activation)}) gave\n${text}\nand in the replay\n${again}`,
        );
    }
  } finally {
    await sandbox.dispose();
  }
}

/** One word for each thing that a run was told and said: runs of one shape replay alike. */
export const shape = (run: Run): string =>
  run.recorded.map(({ activation, commands }) => `${kinds(activation)}>${commands.map(kind).join()}`).join(';');

/** What a history keeps of an activation: no update that was refused, and the patches told ahead. */
function asHistory(recorded: Recorded, flags: number[]): { activation: Activation; commands: Command[] } {
  const refused = new Set(
    recorded.commands.flatMap(({ updateResponse }) =>
      updateResponse?.rejected == null ? [] : [updateResponse.protocolInstanceId],
    ),
  );
  // One that was accepted before, and then failed, is in the history: it was asked for in an earlier activation.
  const accepted = new Set(
    recorded.commands.flatMap(({ updateResponse }) =>
      updateResponse?.accepted == null ? [] : [updateResponse.protocolInstanceId],
    ),
  );
  const asked = new Set((recorded.activation.jobs ?? []).map(({ doUpdate }) => doUpdate?.protocolInstanceId));
  const forgotten = (id: string | null | undefined) => refused.has(id) && asked.has(id) && !accepted.has(id);
  const patches = recorded.commands.flatMap(({ setPatchMarker }) =>
    setPatchMarker?.patchId == null ? [] : [{ notifyHasPatch: { patchId: setPatchMarker.patchId } }],
  );
  const jobs = (recorded.activation.jobs ?? [])
    .filter(({ doUpdate }) => !forgotten(doUpdate?.protocolInstanceId))
    .map((job) => (job.doUpdate == null ? job : { doUpdate: { ...job.doUpdate, runValidator: false } }));
  return {
    activation: {
      ...recorded.activation,
      isReplaying: true,
      availableInternalFlags: flags,
      jobs: [...patches, ...jobs],
    },
    commands:
      refused.size === 0
        ? recorded.commands
        : recorded.commands.filter(({ updateResponse }) => !forgotten(updateResponse?.protocolInstanceId)),
  };
}

const kind = (message: object) =>
  Object.keys(message).find((key) => !key.startsWith('user') && !key.startsWith('event'));
const kinds = (activation: Activation) => (activation.jobs ?? []).map(kind).join();
