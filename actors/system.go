package actors

import (
	"io"
	"log/slog"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// deadLetters is how long the library counts dead letters before it logs them, which
// nobody reads: the goroutine that counts outlives the system as long.
const deadLetters = 10 * time.Millisecond

// NewSystem is a system for the actors of one process. The library logs every restart and
// dead letter; what matters of these our own actors journal or log.
func NewSystem() *actor.ActorSystem {
	return actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger {
		return slog.New(slog.NewTextHandler(io.Discard, nil))
	}), actor.WithDeadLetterThrottleInterval(deadLetters))
}
