// The jobs of the pipeline, for those who submit and those who work.

import { defineJob, workflow } from '@weirhq/weir'
import { z } from 'zod'

const queue = 'images'

export const probe = defineJob('probe', {
  queue,
  args: z.object({ file: z.string() }),
  result: z.object({ width: z.number(), height: z.number(), format: z.string() }),
})

export const resize = defineJob('resize', {
  queue,
  args: z.object({ file: z.string(), to: z.string(), width: z.number() }),
  result: z.object({ file: z.string(), width: z.number(), height: z.number() }),
})

export const publish = defineJob('publish', {
  queue,
  args: z.object({ file: z.string() }),
  needs: { probe, small: resize, large: resize },
})

/** planOf is the workflow of one image: it is probed, then resized twice at the same time, then published. */
export function planOf(file: string, to: string) {
  const plan = workflow('image', { metadata: { file } })
  const probed = plan.step('probe', probe, { file })
  const small = plan.step('small', resize, { file, to, width: 100 }, { after: [probed] })
  const large = plan.step('large', resize, { file, to, width: 400 }, { after: [probed] })
  plan.step('publish', publish, { file }, { after: [probed, small, large] })
  return plan
}
