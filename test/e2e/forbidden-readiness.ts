import type { Stage } from './stage.ts';

/** Takes away that accounts may ask the API server whether it is ready, from all and from the worker, as hardening does. */
export async function forbidReadiness({ kubectl }: Pick<Stage, 'kubectl'>): Promise<void> {
  await kubectl('delete', 'clusterrolebinding', 'system:public-info-viewer');
  for (const name of ['system:discovery', 'kairos-worker']) {
    const role = JSON.parse(await kubectl('get', 'clusterrole', name, '-o', 'json')) as {
      rules: { nonResourceURLs?: string[] }[];
    };
    const others = (paths: readonly string[]) => paths.filter((path) => path !== '/readyz');
    const rules = role.rules.flatMap((rule) => {
      if (rule.nonResourceURLs === undefined) return [rule];
      const nonResourceURLs = others(rule.nonResourceURLs);
      return nonResourceURLs.length === 0 ? [] : [{ ...rule, nonResourceURLs }];
    });
    await kubectl('patch', 'clusterrole', name, '--type=merge', '-p', JSON.stringify({ rules }));
  }
}
