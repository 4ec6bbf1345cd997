/**
 * Runs `work` as a user whom permissions bind. Root reads every file, so that it becomes nobody for that while; an
 * ordinary user stays who they are.
 */
export async function asOrdinaryUser<T>(work: () => Promise<T>): Promise<T> {
  const { geteuid, seteuid } = process;
  if (geteuid?.() !== 0 || seteuid === undefined) return work();
  seteuid(65_534);
  try {
    return await work();
  } finally {
    seteuid(0);
  }
}
