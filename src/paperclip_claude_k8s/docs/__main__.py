"""`python -m paperclip_claude_k8s.docs`: rewrite the generated files of the documentation."""

from paperclip_claude_k8s.docs import write_generated

if __name__ == "__main__":
    write_generated()
