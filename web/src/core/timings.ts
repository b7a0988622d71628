/** How long the answers and tools of a thread took: asked for when somebody looks, the newest first, as far back as they look. */

interface Run {
  run_id: string
  messages: Record<string, { first_token_ms: number; finished_ms: number }>
  tools: Record<string, number>
}

/** The answer of `GET /threads/{id}/timings`. */
export interface Page {
  runs: Run[]
  next_before: string | null
}

/** Of an answer, in ms from the beginning of its run; `first` is that of the first thing which the run said. */
export interface Took {
  first: number
  all: number
}

const FEW = 50
const MANY = 1000

export class Timings {
  readonly tools = new Map<string, number>()
  readonly answers = new Map<string, Took>()
  private readonly wanted = new Map<string, number>()
  private readonly runs = new Set<string>()
  private next: string | null = null
  private fresh = false
  private asking = false
  private failed = false
  private readonly ask: (query: string) => Promise<Page>
  private readonly changed: () => void

  /** `ask` answers a page; what it throws may go well later, when there is a reason to look again. */
  constructor(ask: (query: string) => Promise<Page>, changed: () => void) {
    this.ask = ask
    this.changed = changed
  }

  /** Somebody looks at this message or call, until the answer is called. */
  want(id: string): () => void {
    this.wanted.set(id, (this.wanted.get(id) ?? 0) + 1)
    void this.look()
    return () => {
      const others = this.wanted.get(id)! - 1
      if (others) this.wanted.set(id, others)
      else this.wanted.delete(id)
    }
  }

  /** A run has ended. */
  renew(): void {
    this.fresh = false
    void this.look()
  }

  /** The server can be reached again. */
  retry(): void {
    if (this.failed) void this.look()
  }

  private async look(): Promise<void> {
    if (this.asking) return
    this.asking = true
    this.failed = false
    try {
      while (this.missing() && (!this.fresh || this.next !== null)) {
        const head = !this.fresh
        this.fresh = true
        const page = await this.ask(head ? `limit=${FEW}` : `limit=${MANY}&before=${this.next}`)
        // What is newer than all that is known may be more than a page: then all of it is read anew.
        if (!head || !page.runs.some((one) => this.runs.has(one.run_id))) this.next = page.next_before
        for (const one of page.runs) this.add(one)
        this.changed()
      }
    } catch {
      this.runs.clear() // from where it read on may be what is not there any more
      this.next = null
      this.fresh = false
      this.failed = true
    } finally {
      this.asking = false
    }
  }

  private missing(): boolean {
    return [...this.wanted.keys()].some((one) => !this.tools.has(one) && !this.answers.has(one))
  }

  private add(run: Run): void {
    this.runs.add(run.run_id)
    for (const [id, ms] of Object.entries(run.tools)) this.tools.set(id, ms)
    const first = Math.min(...Object.values(run.messages).map((one) => one.first_token_ms))
    for (const [id, one] of Object.entries(run.messages)) this.answers.set(id, { first, all: one.finished_ms })
  }
}
