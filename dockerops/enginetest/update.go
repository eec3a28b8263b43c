package enginetest

import (
	"encoding/json"
	"maps"
	"net/http"
)

// update changes a container's limits; as with the real one, 0 changes nothing. mu is held.
func (e *Engine) update(w http.ResponseWriter, r *http.Request, c *Container) {
	var body map[string]any
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	c.HostConfig = maps.Clone(c.HostConfig)
	for _, key := range []string{"NanoCpus", "Memory", "MemorySwap", "PidsLimit"} {
		if value, is := body[key].(float64); is && value != 0 {
			c.HostConfig[key] = value
		}
	}
	e.tell(c, "update")
	reply(w, http.StatusOK, map[string]any{"Warnings": nil})
}
