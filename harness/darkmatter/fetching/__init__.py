"""SAEs from the Hugging Face hub: ``darkmatter fetch``; nothing else downloads any."""
