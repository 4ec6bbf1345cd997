import { fileURLToPath } from 'node:url';
import { DefaultLogger, bundleWorkflowCode } from '@temporalio/worker';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/**
 * The code that Temporal replays: the workflows and what they import, and nothing else. The same sources give the same
 * text wherever they lie, and stack traces name files from the root of the repository.
 */
export async function bundleWorkflows(): Promise<string> {
  const { code } = await bundleWorkflowCode({
    workflowsPath: `${ROOT}workflows/index.ts`,
    logger: new DefaultLogger('WARN'),
    webpackConfigHook: (config) => ({
      ...config,
      // Lines without columns: the columns of the file that the SDK generates depend on where the sources lie.
      devtool: 'inline-cheap-module-source-map',
      output: {
        ...config.output,
        // The SDK names it after a hash that knows the paths; nobody reads the name.
        filename: 'workflow-bundle.js',
        devtoolModuleFilenameTemplate: ({ absoluteResourcePath }: { absoluteResourcePath: string }) =>
          absoluteResourcePath.replace(ROOT, ''),
      },
    }),
  });
  return withoutRoot(code);
}

/** The map's copy of the file that the SDK generates names the workflows by their whole path. */
function withoutRoot(code: string): string {
  return code.replace(/(?<=^\/\/# sourceMappingURL=data:.*;base64,).+$/m, (map) =>
    Buffer.from(Buffer.from(map, 'base64').toString().replaceAll(ROOT, '')).toString('base64'),
  );
}
