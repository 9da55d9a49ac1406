package channel

// A branch is something that a client created: to close it the protocol wants
// to know its parent, and what is in it is closed with it.
type branch struct {
	parent   string
	server   string // whose ports a transport uses; empty: none
	children map[string]bool
}

// grow remembers that id was created in parent, "" for the worker.
func (c *Client) grow(id, parent, server string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tree[id] = &branch{parent: parent, server: server, children: map[string]bool{}}
	for _, p := range []string{parent, server} {
		if up := c.tree[p]; up != nil {
			up.children[id] = true
		}
	}
}

// parent returns where id was created, "" if it is not there any more.
func (c *Client) parent(id string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if b := c.tree[id]; b != nil {
		return b.parent
	}
	return ""
}

// forget forgets id with everything in it.
func (c *Client) forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forgetLocked(id)
}

func (c *Client) forgetLocked(id string) {
	b := c.tree[id]
	if b == nil {
		return
	}
	delete(c.tree, id)
	for _, p := range []string{b.parent, b.server} {
		if up := c.tree[p]; up != nil {
			delete(up.children, id)
		}
	}
	for child := range b.children {
		c.forgetLocked(child)
	}
}
