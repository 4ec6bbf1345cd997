import type { Body, Failure, Payload } from './protocol.ts';
import type { Run } from './run.ts';

/** The answer to an update, once the workflow has given it. */
export interface UpdateState {
  accepted: boolean;
  rejected?: Failure;
  completed?: Payload | null;
}

/** The updates that were asked for, by the id under which a workflow answers them. */
export class Updates {
  readonly #asked = new Map<string, UpdateState>();

  ask(): { id: string; state: UpdateState } {
    const id = `update-${this.#asked.size + 1}`;
    const state: UpdateState = { accepted: false };
    this.#asked.set(id, state);
    return { id, state };
  }

  answer(run: Run, { protocolInstanceId, accepted, rejected, completed }: Body<'updateResponse'>): void {
    const state = this.#asked.get(protocolInstanceId ?? '');
    if (state === undefined) throw new Error(`workflow ${run.id} answers an update that nobody asked for`);
    if (accepted != null) {
      state.accepted = true;
      run.history.push('WORKFLOW_EXECUTION_UPDATE_ACCEPTED');
    }
    if (rejected != null) state.rejected = rejected;
    if (completed != null) state.completed = completed;
    if (completed != null || (rejected != null && state.accepted))
      run.history.push('WORKFLOW_EXECUTION_UPDATE_COMPLETED');
  }
}
