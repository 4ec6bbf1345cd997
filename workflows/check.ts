import type { CheckAnswer, CheckInput } from '../api/messages.ts';
import { activitiesFor } from './activity-proxies.ts';

/** Goes through a worker and back, and touches nothing: who starts it and gets the answer knows that one is at work. */
export async function check(input: CheckInput): Promise<CheckAnswer> {
  return activitiesFor(input.timing, 'proving that a worker answers').call.answerCheck(input);
}
